import Identity
import NIOCore
import NIOSSL
import Synchronization

/// A connection, or a stream of HTTP/2, as far as answering its requests needs to know it.
final class Connection: Sendable {
    /// How a file's bytes get into this connection. This is decided where the pipeline is built: only a plain one has
    /// the handler that makes file regions, so that none can reach TLS.
    enum Transfer: Sendable {
        case sendfile
        case chunks
    }

    /// The connection's channel; in HTTP/2, the channel of the request's stream.
    let channel: any Channel
    /// The socket's channel.
    let underlying: any Channel
    let transfer: Transfer
    /// The client's IP address.
    let peer: String
    let address: ClientAddress
    /// The memory that is held for this connection, or for this stream. It is given back when that closes.
    let memory: Holding
    let statistics: ServerStatistics
    /// Closes other connections to make room for this one; nil if none is to be closed.
    private let registry: ConnectionRegistry?
    /// The connection that a stream belongs to; nil for a connection.
    private let parent: Connection?
    private let requests = Atomic(0)
    private let spare = Atomic(false)
    private let closing = Atomic(false)
    private let user = Mutex<String?>(nil)
    private let isCancelled = Atomic(false)
    private let server = Mutex(Server())

    init(
        channel: any Channel, transfer: Transfer, memory: Budget, statistics: ServerStatistics,
        registry: ConnectionRegistry? = nil
    ) {
        self.registry = registry
        self.memory = Holding(memory, .strangers)
        self.statistics = statistics
        parent = nil
        self.channel = channel
        underlying = channel
        self.transfer = transfer
        let remote = channel.remoteAddress
        peer = remote?.ipAddress ?? "-"
        address = ClientAddress(remote)
    }

    /// Describes a stream of an HTTP/2 connection, whose client is the connection's.
    init(stream: any Channel, of connection: Connection) {
        memory = connection.memory.another { $0 }
        parent = connection
        registry = connection.registry
        statistics = connection.statistics
        channel = stream
        underlying = connection.underlying
        transfer = .chunks
        peer = connection.peer
        address = connection.address
        user.withLock { $0 = connection.certifiedUser }
    }

    /// Whether the connection is about to be closed: no request that is read from now on is answered.
    var isClosing: Bool { closing.load(ordering: .relaxed) }
    func markClosing() { closing.store(true, ordering: .relaxed) }

    /// The user that the client's certificate names; nil if it has none.
    var certifiedUser: String? { user.withLock { $0 } }
    func markCertified(_ name: String?) { user.withLock { $0 = name } }

    /// Called once the sender of a request is known: what the connection holds counts for that share from now on.
    func belongs(to share: Budget.Share) {
        memory.move(to: share)
        parent?.memory.move(to: share)
    }

    /// Takes memory for a request whose head was read. It may be an operator's, which nobody knows yet: where
    /// strangers have taken all that is theirs, connections of some of them are closed to make room.
    /// - Returns: false if there is no memory.
    func takeForRequest(_ bytes: Int) -> Bool { memory.take(bytes) || registry?.take(bytes, for: self) ?? false }

    /// The memory for a document that a request sends. It is not known yet who sends it.
    func holdingForDocument() -> Holding { memory.another { _ in .documents } }

    /// Whether a request of this connection is worked on or being answered.
    var isBusy: Bool { requests.load(ordering: .relaxed) > 0 }
    func begin() { (parent ?? self).requests.wrappingAdd(1, ordering: .relaxed) }
    func end() { (parent ?? self).requests.wrappingSubtract(1, ordering: .relaxed) }

    /// Whether the connection was let in beyond the maximum, in a place that is kept for operators and health.
    var isSpare: Bool { (parent ?? self).spare.load(ordering: .relaxed) }
    func markSpare() { spare.store(true, ordering: .relaxed) }

    /// Closes the connection at once. A close of TLS would first exchange messages with a client that may not listen.
    func cut() {
        let channel = underlying
        channel.eventLoop.execute {
            if let tls = try? channel.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) {
                tls.close(promise: nil)
            } else {
                channel.close(promise: nil)
            }
        }
    }

    /// Serves this connection in the calling task, which `cancel` cancels from then on.
    func serve(_ work: () async -> Void) async {
        await withUnsafeCurrentTask { (task: UnsafeCurrentTask?) async in
            server.withLock { $0.task = task }
            if isCancelled.load(ordering: .acquiring) { task?.cancel() }
            await work()
            // The reference is removed before the task ends: it must not be used after that.
            server.withLock { $0.task = nil }
        }
    }

    /// Cancels the task that serves this connection, since its client is gone. Called on the event loop.
    func cancel() {
        // The cancelled task may close the channel, which calls this again.
        guard !isCancelled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        server.withLock { $0.task?.cancel() }
    }

    /// The task that serves a connection, known only while it runs. The lock around it lets any thread cancel it.
    private struct Server: @unchecked Sendable {
        var task: UnsafeCurrentTask?
    }

    /// Sends `100 Continue` if the client waits for that before it sends its body.
    func sendContinue() {
        channel.triggerUserOutboundEvent(SendContinue(), promise: nil)
    }

    /// Sends a range of a file with sendfile.
    func send(_ region: FileRegion) async throws {
        let promise = channel.eventLoop.makePromise(of: Void.self)
        channel.triggerUserOutboundEvent(SendFile(region: region), promise: promise)
        try await promise.futureResult.get()
    }
}

/// Asks the connection's handler to write `100 Continue` if the client waits for it.
struct SendContinue: Sendable {}

/// Asks a plain connection to send a range of a file.
struct SendFile: Sendable {
    let region: FileRegion
}

extension ChannelHandlerContext {
    /// Ends the connection at once, as `Connection.cut` does.
    func cut() {
        if let tls = try? pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) {
            tls.close(promise: nil)
        } else {
            close(promise: nil)
        }
    }
}
