import AsyncHTTPClient
import JSON
package import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Runtime
import Synchronization

/// A client of one API server.
///
/// It speaks HTTP/1.1: each watch has a connection of its own, so that one that has died without a word takes no other
/// request with it, as a shared HTTP/2 connection does. `Kubernetes.docc` says what is repeated when.
package final class KubernetesClient: Sendable {
    package struct Limits: Sendable {
        /// How long a connection may take to come up.
        package var connect = Duration.seconds(10)
        /// How long one attempt may take until its whole answer is there. The server itself gives up after a minute.
        package var attempt = Duration.seconds(65)
        /// How long a call may take with all its attempts and pauses.
        package var whole = Duration.seconds(180)
        package var attempts = 8
        /// The pause before the second attempt; it doubles from one to the next, and up to a quarter is taken off or put
        /// on by chance.
        package var firstPause = Duration.milliseconds(250)
        /// The longest pause, also where the server asks for a longer one.
        package var longestPause = Duration.seconds(30)
        /// Requests a second, and how many may come at once after a rest.
        package var requestsPerSecond = 20.0
        package var burst = 40
        /// Connections for everything but streams.
        package var connections = 8
        /// Watches, logs and sessions at a time.
        package var streams = 128
        /// The largest answer, or page of a list, in bytes.
        package var answer = 64 << 20
        /// The largest event of a watch, in bytes.
        package var event = 8 << 20
        /// How long a watch may be silent. Servers send a bookmark about each minute.
        package var watchSilence = Duration.seconds(150)
        /// After how long the server is to end a watch, in seconds; chosen by chance, so that watches don't come back all
        /// at once.
        package var watchSeconds = 240...480

        package init() {}
    }

    /// Time, so that tests need not wait.
    struct Timing: Sendable {
        /// Nanoseconds since 1970.
        var now: @Sendable () -> Int64 = { SystemClock.now() }
        var monotonic: @Sendable () -> Int64 = { SystemClock.monotonic() }
        var pause: @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    }

    package let namespace: String
    package let limits: Limits
    let connection: ClusterConnection
    let credentials: Credentials
    let timing: Timing
    let logger: Logger
    private let rate: RequestRate
    private let requests: Limiter
    private let http: HTTPClient
    private let watchHTTP: HTTPClient
    private let logHTTP: HTTPClient

    /// Runs a body with a client and closes its connections afterwards.
    /// - Parameter environment: what exec plugins inherit.
    package static func with<Value: Sendable>(
        _ connection: ClusterConnection, limits: Limits = Limits(), environment: [String: String] = [:],
        logger: Logger, _ body: (KubernetesClient) async throws -> Value
    ) async throws -> Value {
        try await with(
            connection, limits: limits, environment: environment, logger: logger, timing: Timing(), body)
    }

    static func with<Value: Sendable>(
        _ connection: ClusterConnection, limits: Limits, environment: [String: String], logger: Logger, timing: Timing,
        _ body: (KubernetesClient) async throws -> Value
    ) async throws -> Value {
        let client = KubernetesClient(connection, limits, environment, logger, timing)
        do {
            let value = try await body(client)
            await client.stop()
            return value
        } catch {
            await client.stop()
            throw error
        }
    }

    private init(
        _ connection: ClusterConnection, _ limits: Limits, _ environment: [String: String], _ logger: Logger,
        _ timing: Timing
    ) {
        self.connection = connection
        self.limits = limits
        self.timing = timing
        self.logger = logger
        namespace = connection.namespace
        credentials = Credentials(connection, environment: environment, logger: logger, now: timing.now)
        rate = RequestRate(perSecond: limits.requestsPerSecond, burst: limits.burst)
        requests = Limiter(limits.connections)
        http = Self.http(connection, limits, silence: nil, connections: limits.connections)
        watchHTTP = Self.http(connection, limits, silence: limits.watchSilence, connections: limits.streams)
        logHTTP = Self.http(connection, limits, silence: nil, connections: limits.streams)
    }

    private func stop() async {
        credentials.stop()
        for client in [http, watchHTTP, logHTTP] { try? await client.shutdown() }
    }

    private static func http(
        _ connection: ClusterConnection, _ limits: Limits, silence: Duration?, connections: Int
    ) -> HTTPClient {
        var configuration = HTTPClient.Configuration()
        configuration.timeout = .init(connect: TimeAmount(limits.connect), read: silence.map { TimeAmount($0) })
        // A redirect would take the token to whomever it names.
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
        // Shorter than what servers and load balancers allow: a write must not meet a connection that is being closed.
        configuration.connectionPool.idleTimeout = .seconds(30)
        if let name = connection.tlsServerName { configuration.dnsOverride = [name: connection.endpoint.host] }
        switch connection.proxy {
        case let proxy? where proxy.isSOCKS: configuration.proxy = .socksServer(host: proxy.host, port: proxy.port)
        case let proxy?:
            configuration.proxy = .server(
                host: proxy.host, port: proxy.port, authorization: proxy.credentials.map { .basic(credentials: $0) })
        case nil: break
        }
        // A stream that may be silent for hours finds out in minutes that the other side is gone.
        configuration.http1_1ConnectionDebugInitializer = { $0.keepingAlive() }
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    // MARK: Calls

    struct Call: Sendable {
        var method: HTTPMethod = .GET
        /// With its query, percent-encoded.
        var path: String
        var body: [UInt8]?
        var contentType = "application/json"
        /// Whether it may be sent again when its answer was lost: the same call twice does what one does.
        var isRepeatable: Bool
        /// Whether 429 is an answer for the caller, as of an eviction that a disruption budget forbids.
        var takesTooMany = false
        var isSecret = false
    }

    struct Answer: Sendable {
        let status: Int
        let body: [UInt8]

        func json() throws(KubernetesError) -> JSONValue {
            do throws(JSONError) { return try JSONValue(parsing: body, maximumDepth: 128) } catch {
                throw .malformed(error.description)
            }
        }

        func object() throws(KubernetesError) -> KubernetesObject {
            guard let object = KubernetesObject(try json()) else { throw .malformed("it is no object") }
            return object
        }
    }

    enum StreamKind { case watch, log }

    /// Sends a call and reads its whole answer, whose status is 200 to 299.
    /// - Throws: `KubernetesError`, `CancellationError`; a write that is cancelled may have been done.
    func send(_ call: Call) async throws -> Answer {
        try await retrying(call, http) { [limits] response in
            let body = try await response.body.collect(upTo: limits.answer)
            return Answer(status: Int(response.status.code), body: Array(body.readableBytesView))
        }
    }

    /// Begins a stream: the answer has come, its body has not. It has no end of its own, see the stream's own time-out.
    func open(_ call: Call, _ kind: StreamKind) async throws -> HTTPClientResponse {
        try await retrying(call, kind == .watch ? watchHTTP : logHTTP) { $0 }
    }

    private enum Outcome<Value: Sendable>: Sendable {
        case done(Value)
        case refused(APIStatus)
        case failed(KubernetesError, mayHelp: Bool)
    }

    private func retrying<Value: Sendable>(
        _ call: Call, _ http: HTTPClient, _ finish: @escaping @Sendable (HTTPClientResponse) async throws -> Value
    ) async throws -> Value {
        let deadline = timing.monotonic() + limits.whole.nanoseconds
        var hasRenewed = false
        var number = 0
        while true {
            number += 1
            try await waitForTurn(until: deadline)
            let identity = try await credentials.value()
            let failure: KubernetesError
            var asked: Int?
            switch try await attempt(call, http, identity, deadline, finish) {
            case .done(let value): return value
            case .refused(let status) where status.code == 401 && !hasRenewed:
                hasRenewed = true
                guard await credentials.refuse(identity.generation) else { throw KubernetesError.refused(status) }
                continue
            case .refused(let status):
                failure = .refused(status)
                asked = status.retryAfter
                switch status.code {
                case 429:
                    // The server has not begun with it, whatever it is.
                    guard !call.takesTooMany else { throw failure }
                case 500...599 where status.code != 501 && status.code != 505:
                    // An error inside the server or behind it tells nothing about what was written.
                    guard call.isRepeatable else { throw KubernetesError.unknown("\(status)") }
                default: throw failure
                }
            case .failed(let error, let mayHelp):
                failure = error
                guard mayHelp else { throw error }
            }
            let pause = pause(after: number, asked: asked)
            guard number < limits.attempts, timing.monotonic() + pause.nanoseconds < deadline else { throw failure }
            logger.debug(
                "A call to the API server is repeated",
                metadata: ["call": "\(call.method.rawValue) \(call.path.prefix { $0 != "?" })", "error": "\(failure)"])
            try await timing.pause(pause)
        }
    }

    /// - Parameters:
    ///   - number: how many attempts there were, at least 1.
    ///   - asked: what the server asks for, in seconds.
    func pause(after number: Int, asked: Int? = nil) -> Duration {
        let own = limits.firstPause * Double(1 << min(number - 1, 16)) * Double.random(in: 0.75...1.25)
        return min(max(own, .seconds(asked ?? 0)), limits.longestPause)
    }

    func waitForTurn(until deadline: Int64) async throws {
        let now = timing.monotonic()
        guard let wait = rate.reserve(at: now, limit: max(0, deadline - now)) else {
            throw KubernetesError.timedOut("too many requests wait to be sent")
        }
        if wait > 0 { try await timing.pause(.nanoseconds(wait)) }
        try Task.checkCancellation()
    }

    private func attempt<Value: Sendable>(
        _ call: Call, _ http: HTTPClient, _ identity: Credentials.Current, _ deadline: Int64,
        _ finish: @escaping @Sendable (HTTPClientResponse) async throws -> Value
    ) async throws -> Outcome<Value> {
        let request = request(call, identity)
        let isSent = Flag()
        let limit = min(limits.attempt.nanoseconds, max(1_000_000, deadline - timing.monotonic()))
        let exchange = { @Sendable [self] () async throws -> Outcome<Value> in
            isSent.set()
            // The limit below is the one that counts: it is for the whole answer, and this one for its head alone.
            let response = try await http.execute(request, timeout: .nanoseconds(limit) + .seconds(60))
            let code = Int(response.status.code)
            if (200..<300).contains(code) { return .done(try await finish(response)) }
            return .refused(await status(response, call))
        }
        do {
            return try await withTimeLimit(.nanoseconds(limit)) { [self] in
                // Streams have clients of their own, whose pools bound them.
                guard http === self.http else { return try await exchange() }
                return try await requests.run(cancelled: CancellationError() as any Error) {
                    try await exchange()
                }
            }
        } catch {
            try Task.checkCancellation()
            let failure = ConnectionFailure(error, sent: isSent.isSet)
            if case .tooLarge = failure {
                return .failed(.malformed("it has more than \(limits.answer) bytes"), mayHelp: false)
            }
            if case .untrusted(let reason) = failure { return .failed(.untrusted(reason), mayHelp: false) }
            let reason = failure.reason
            guard failure.isLost, !call.isRepeatable else {
                return .failed(error is TimeLimitExceeded ? .timedOut(reason) : .unreachable(reason), mayHelp: true)
            }
            return .failed(.unknown(reason), mayHelp: false)
        }
    }

    private final class Flag: Sendable {
        private let value = Atomic(false)

        func set() { value.store(true, ordering: .relaxed) }
        var isSet: Bool { value.load(ordering: .relaxed) }
    }

    private func request(_ call: Call, _ identity: Credentials.Current) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: baseURL + call.path)
        request.method = call.method
        request.headers = headers(identity)
        request.headers.add(name: "Accept", value: "application/json")
        request.tlsConfiguration = identity.tls
        if let body = call.body {
            request.headers.add(name: "Content-Type", value: call.contentType)
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        return request
    }

    private var baseURL: String {
        let endpoint = connection.endpoint
        let host = connection.tlsServerName ?? endpoint.host
        return (endpoint.isTLS ? "https://" : "http://") + Endpoint.authority(host, endpoint.port) + endpoint.path
    }

    func headers(_ identity: Credentials.Current) -> HTTPHeaders {
        var headers: HTTPHeaders = ["Host": connection.endpoint.authority, "User-Agent": "cistern"]
        if let authorization = identity.authorization { headers.add(name: "Authorization", value: authorization) }
        for (name, value) in connection.impersonation { headers.add(name: name, value: value) }
        return headers
    }

    private func status(_ response: HTTPClientResponse, _ call: Call) async -> APIStatus {
        let body = try? await response.body.collect(upTo: 1 << 20)
        let json = body.flatMap { try? JSONValue(parsing: $0.readableBytesView) }
        return APIStatus(
            json, code: Int(response.status.code),
            retryAfter: response.headers.first(name: "Retry-After").flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil },
            isSecret: call.isSecret)
    }
}
