import Identity
import NIOCore
import NIOSSL
import Synchronization

/// What routes' answers need of the connection that they go to.
final class Connection: Sendable {
    /// How a file's bytes get into this connection. It is decided where the pipeline is built: only a plain one has the
    /// handler that makes file regions, so that none can reach TLS.
    enum Transfer: Sendable {
        case sendfile
        case chunks
    }

    /// In HTTP/2 this is the request's stream.
    let channel: any Channel
    /// The socket's channel.
    let underlying: any Channel
    let transfer: Transfer
    /// The client's IP address.
    let peer: String
    let address: ClientAddress
    /// What is held for this connection, or for this stream: given back when it closes.
    let memory: Holding
    let statistics: ServerStatistics
    /// Makes room; nil where nobody could.
    private let registry: ConnectionRegistry?
    /// The connection that a stream belongs to.
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

    /// A stream of an HTTP/2 connection, whose client it has.
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

    /// No request that is read from now on is answered.
    var isClosing: Bool { closing.load(ordering: .relaxed) }
    func markClosing() { closing.store(true, ordering: .relaxed) }

    /// The user that the client's certificate names; nil if it has none.
    var certifiedUser: String? { user.withLock { $0 } }
    func markCertified(_ name: String?) { user.withLock { $0 = name } }

    /// Somebody is known to be behind it: what it holds counts for them from now on.
    func belongs(to share: Budget.Share) {
        memory.move(to: share)
        parent?.memory.move(to: share)
    }

    /// Takes memory for a request whose head is there. Nobody knows yet who sends it, perhaps an operator: where
    /// strangers have taken all that is theirs, some of them make room.
    func takeForRequest(_ bytes: Int) -> Bool { memory.take(bytes) || registry?.take(bytes, for: self) ?? false }

    /// For a document that a request sends; it is not known yet who that is.
    func holdingForDocument() -> Holding { memory.another { _ in .documents } }

    /// A request of this connection is worked on or being answered.
    var isBusy: Bool { requests.load(ordering: .relaxed) > 0 }
    func begin() { (parent ?? self).requests.wrappingAdd(1, ordering: .relaxed) }
    func end() { (parent ?? self).requests.wrappingSubtract(1, ordering: .relaxed) }

    /// There was no room left for it but what is kept for operators and for health.
    var isSpare: Bool { (parent ?? self).spare.load(ordering: .relaxed) }
    func markSpare() { spare.store(true, ordering: .relaxed) }

    /// Ends it at once. TLS would first say goodbye and wait for a client that does not listen.
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

    /// Runs what serves this connection, in a task that `cancel` cancels from then on.
    func serve(_ work: () async -> Void) async {
        await withUnsafeCurrentTask { (task: UnsafeCurrentTask?) async in
            server.withLock { $0.task = task }
            if isCancelled.load(ordering: .acquiring) { task?.cancel() }
            await work()
            // Before the task can be gone.
            server.withLock { $0.task = nil }
        }
    }

    /// The client is gone: nobody wants what is done for it. Called on the event loop.
    func cancel() {
        // What is cancelled may close the channel, which comes here again.
        guard !isCancelled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        server.withLock { $0.task?.cancel() }
    }

    /// The task that serves a connection. It is known only while it runs, so that it can be cancelled from any thread.
    private struct Server: @unchecked Sendable {
        var task: UnsafeCurrentTask?
    }

    /// Lets a client that waits for it send its body.
    func sendContinue() {
        channel.triggerUserOutboundEvent(SendContinue(), promise: nil)
    }

    /// Hands a file's range to the system, which sends it.
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
