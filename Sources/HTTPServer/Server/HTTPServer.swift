public import Identity
public import Logging
public import Logs
public import Metrics
import NIOCore
import NIOPosix
import NIOSSL
public import ServiceLifecycle
import Synchronization

/// Serves routes on some addresses until it is asked to stop.
///
/// Asked to stop it accepts no more connections, lets responses that are under way finish within
/// `ServerLimits.drainTime`, closes each connection after its response, and returns.
public struct HTTPServer: Service {
    private let listeners: [Listener]
    private let limits: ServerLimits
    private let requestHandler: RequestHandler
    private let logger: Logger
    private let memory: Budget
    private let registry: ConnectionRegistry
    public let statistics = ServerStatistics()
    private let missingRows: [String]
    private let onListening: @Sendable ([BoundAddress]) async -> Void

    /// - Parameters:
    ///   - routes: everything that is served.
    ///   - authenticator: tells users apart; asked for every route that is not open.
    ///   - signer: checks the signed URLs of routes that take them; nil: none is good.
    ///   - accessLog: gets one line a request; nil for none.
    ///   - memory: what requests may hold; 503 or a closed connection beyond it.
    ///   - metrics: makes the counters and timers.
    ///   - onListening: called with the addresses once all of them are bound.
    public init(
        listeners: [Listener], limits: ServerLimits = ServerLimits(), memory: Budget = .memory(MemoryLimit.standard),
        routes: Routes, authenticator: any Authenticating, signer: URLSigner? = nil, accessLog: AccessLog?,
        logger: Logger, metrics: any MetricsFactory = MetricsSystem.factory,
        onListening: @escaping @Sendable ([BoundAddress]) async -> Void = { _ in }
    ) {
        self.init(
            listeners: listeners, limits: limits, memory: memory, routes: routes, authenticator: authenticator,
            signer: signer, accessLog: accessLog, logger: logger, descriptors: DescriptorLimit.raise(),
            metrics: metrics, now: { .now() }, onListening: onListening)
    }

    /// - Parameters:
    ///   - descriptors: how many this process may have open.
    ///   - now: the clock of the limit on an address's requests.
    init(
        listeners: [Listener], limits: ServerLimits, memory: Budget, routes: Routes,
        authenticator: any Authenticating, signer: URLSigner?, accessLog: AccessLog?, logger: Logger,
        descriptors: Int, metrics: any MetricsFactory, now: @escaping @Sendable () -> NIODeadline,
        onListening: @escaping @Sendable ([BoundAddress]) async -> Void
    ) {
        self.listeners = listeners
        self.limits = limits
        self.logger = logger
        self.memory = memory
        self.onListening = onListening
        missingRows = routes.missingRows
        let plan = DescriptorPlan(limit: descriptors)
        registry = ConnectionRegistry(
            maximum: min(limits.connections, plan.connections), spare: plan.spare,
            maximumOfAddress: limits.connectionsOfAddress, logger: logger)
        requestHandler = RequestHandler(
            routes: routes, authenticator: authenticator, signer: signer,
            limiter: limits.requestsOfAddress.map { RequestLimiter(rate: $0, now: now) },
            slots: plan.requests, accessLog: accessLog, logger: logger, metrics: metrics)
    }

    /// Connections that are open now.
    public var openConnections: Int { registry.count }
    /// Whether the server was asked to stop.
    public var isDraining: Bool { registry.isDraining }

    /// - Throws: `ServerError` if an address can't be bound, a certificate can't be used, or a route has no row in the
    ///   table of roles and routes.
    public func run() async throws {
        guard missingRows.isEmpty else { throw ServerError.routes(missingRows) }
        let group = MultiThreadedEventLoopGroup.singleton
        let executors = Executors(group)
        var bound: [Bound] = []
        do {
            for listener in listeners { bound.append(try await bind(listener, group: group)) }
        } catch {
            for listener in bound { try? await listener.channel.close() }
            throw error
        }
        let listening = bound
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                await onListening(listening.map(\.address))
                await withTaskGroup { tasks in
                    tasks.addTask { await returnMemory() }
                    await withDiscardingTaskGroup { tasks in
                        for listener in listening {
                            tasks.addTask { await accept(listener, executors: executors) }
                        }
                    }
                    tasks.cancelAll()
                }
            } onGracefulShutdown: {
                for listener in listening { listener.channel.close(promise: nil) }
                registry.drain()
            }
        } onCancel: {
            for listener in listening { listener.channel.close(promise: nil) }
            registry.closeAll()
        }
    }

    /// Returns memory to the system after requests held much of it, until the task is cancelled.
    private func returnMemory() async {
        while (try? await Task.sleep(for: MemoryLimit.trimInterval)) != nil {
            if memory.fallen() >= MemoryLimit.worthTrimming {
                try? await NIOThreadPool.singleton.runIfActive { MemoryLimit.trim() }
            }
        }
    }

    private struct Bound: Sendable {
        let address: BoundAddress
        let child: ConnectionChannel
        let channel: any Channel
        let connections: AsyncStream<ConnectionChannel.Accepted>
    }

    private func bind(_ listener: Listener, group: any EventLoopGroup) async throws -> Bound {
        let child = ConnectionChannel(
            security: try security(of: listener), limits: limits, registry: registry, memory: memory,
            statistics: statistics, logger: logger)
        await child.rehearse(on: group, requestHandler: requestHandler)
        let (registry, logger) = (registry, logger)
        // The stream has no bound of its own: `ConnectionRegistry` bounds the connections that `setup` lets in.
        let (connections, accepted) = AsyncStream.makeStream(of: ConnectionChannel.Accepted.self)
        do {
            let channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 1024)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelOption(.maxMessagesPerRead, value: ConnectionChannel.readsAtOnce)
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            AcceptHandler(logger: logger) { registry.makeRoom() })
                    }
                }
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let connection = try child.setup(channel)
                        if case .terminated = accepted.yield(connection) { ConnectionChannel.refuse(connection) }
                    }
                }
                .bind(host: listener.address.host, port: listener.address.port).get()
            channel.closeFuture.whenComplete { _ in accepted.finish() }
            let port = channel.localAddress?.port ?? listener.address.port
            var isSecure = true
            if case .plain = listener.security { isSecure = false }
            return Bound(
                address: BoundAddress(
                    address: ListenAddress(host: listener.address.host, port: port), isSecure: isSecure),
                child: child, channel: channel, connections: connections)
        } catch {
            throw ServerError.bind(listener.address, reason: Self.reason(error, listener.address))
        }
    }

    /// Why an address can't be listened on, and what to do.
    private static func reason(_ error: any Error, _ address: ListenAddress) -> String {
        if error is SocketAddressError || error is SocketAddressError.UnknownHost {
            return "there is no host '\(address.host)': write an address of this machine"
        }
        guard let code = (error as? IOError)?.errnoCode else { return "\(error)" }
        return switch code {
        case EADDRINUSE: "something listens there already: end it, or choose another port"
        case EACCES: "ports below 1024 are for root and CAP_NET_BIND_SERVICE: choose another port"
        case EADDRNOTAVAIL: "this machine has no such address: write one that it has, or 0.0.0.0 for all of them"
        case EAFNOSUPPORT: "this machine has no addresses of that family: write 0.0.0.0 for all that it has"
        default: String(cString: strerror(code))
        }
    }

    private func security(of listener: Listener) throws -> ConnectionChannel.Security {
        switch listener.security {
        case .plain: .plain
        case .tls(let configuration): .tls(try ServerTLS(configuration))
        case .reloading(let tls): .tls(tls)
        }
    }

    private func accept(_ listener: Bound, executors: Executors) async {
        await withDiscardingTaskGroup { tasks in
            for await accepted in listener.connections {
                tasks.addTask(executorPreference: executors[accepted.connection.channel.eventLoop]) {
                    await listener.child.handle(accepted, requestHandler: requestHandler)
                }
            }
        }
    }
}

/// One task executor for each event loop.
private struct Executors: Sendable {
    private let executors: [ObjectIdentifier: LoopExecutor]

    init(_ group: any EventLoopGroup) {
        executors = Dictionary(
            group.makeIterator().map { (ObjectIdentifier($0), LoopExecutor(loop: $0)) }, uniquingKeysWith: { $1 })
    }

    subscript(loop: any EventLoop) -> LoopExecutor? { executors[ObjectIdentifier(loop)] }
}

/// Runs tasks on an event loop's thread, so that a request that needs no other thread is read, answered and written
/// without waking one.
final class LoopExecutor: TaskExecutor {
    let loop: any EventLoop

    init(loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// The counters of a server since it started.
public final class ServerStatistics: Sendable {
    private let sendfile = Atomic<Int64>(0)
    private let read = Atomic<Int64>(0)

    public init() {}

    /// Bytes of files that the system was asked to send (sendfile).
    public var sentBySystem: Int64 { sendfile.load(ordering: .relaxed) }
    /// Bytes of files that this process read and wrote in pieces, instead of the system.
    public var sentByReading: Int64 { read.load(ordering: .relaxed) }

    func addSystem(_ bytes: Int) { sendfile.wrappingAdd(Int64(bytes), ordering: .relaxed) }
    func addRead(_ bytes: Int) { read.wrappingAdd(Int64(bytes), ordering: .relaxed) }
}
