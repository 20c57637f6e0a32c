import NIOCore
import Synchronization

/// The streams of one HTTP/2 connection on their way to the task that serves them.
///
/// A stream comes as a bare channel. Its asynchronous channel is made by the task that then runs it, and by nothing
/// else: one that is made and not run ends the process. A stream that finds no task is closed.
final class StreamQueue: Sendable {
    struct Stream: Sendable {
        let connection: Connection
        /// Lets the stream's first frames in.
        let ready: EventLoopPromise<Void>

        /// Wraps the stream's channel, which may be closed by now. What it returns must be run.
        func open() async throws -> ConnectionChannel.AsyncChannel {
            let (channel, ready) = (connection.channel, ready)
            return try await channel.eventLoop.submit {
                do {
                    // Streams have no half to close: closing the output is the handler's end of stream.
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

    /// Streams that are being served, those that the client has given up included.
    var count: Int { inService.load(ordering: .relaxed) }

    func add(_ stream: Stream) {
        inService.wrappingAdd(1, ordering: .relaxed)
        if case .terminated = continuation.yield(stream) {
            inService.wrappingSubtract(1, ordering: .relaxed)
            stream.ready.fail(ConnectionError.cut)
        }
    }

    /// The connection is closed: no stream comes any more.
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
