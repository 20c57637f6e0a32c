import NIOCore
import Synchronization

/// The streams of one HTTP/2 connection on their way to the task that serves them.
///
/// A stream comes as a plain channel. The task that serves it makes its asynchronous channel, and nothing else does,
/// since NIO ends the process if one is made and not run. A stream that finds no task is closed.
final class StreamQueue: Sendable {
    struct Stream: Sendable {
        let connection: Connection
        /// Completed when the stream's first frames may come.
        let ready: EventLoopPromise<Void>

        /// Wraps the stream's channel, which may be closed by now. The result must be run.
        func open() async throws -> ConnectionChannel.AsyncChannel {
            let (channel, ready) = (connection.channel, ready)
            return try await channel.eventLoop.submit {
                do {
                    // A stream's output can't be closed by itself: its end is the end of the stream, which its handler
                    // writes.
                    let wrapped = try ConnectionChannel.AsyncChannel(wrappingChannelSynchronously: channel)
                    ready.succeed()
                    return wrapped
                } catch {
                    ready.fail(error)
                    throw error
                }
            }.get()
        }
    }

    private let streams: AsyncStream<Stream>
    private let continuation: AsyncStream<Stream>.Continuation
    private let inService = Atomic(0)

    init() { (streams, continuation) = AsyncStream.makeStream() }

    /// How many streams are being served or wait for it, those that the client has given up included.
    var count: Int { inService.load(ordering: .relaxed) }

    func add(_ stream: Stream) {
        inService.wrappingAdd(1, ordering: .relaxed)
        if case .terminated = continuation.yield(stream) {
            inService.wrappingSubtract(1, ordering: .relaxed)
            stream.ready.fail(ConnectionError.cut)
        }
    }

    /// Ends the queue, since the connection is closed and no stream comes any more.
    func finish() { continuation.finish() }

    /// Serves each stream in a task of its own until the connection is closed.
    func run(_ serve: @escaping @Sendable (ConnectionChannel.AsyncChannel, Connection) async -> Void) async {
        await withDiscardingTaskGroup { tasks in
            for await stream in streams {
                tasks.addTask {
                    if let channel = try? await stream.open() { await serve(channel, stream.connection) }
                    self.inService.wrappingSubtract(1, ordering: .relaxed)
                }
            }
        }
    }
}
