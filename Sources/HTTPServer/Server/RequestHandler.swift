import Glibc
import HTTPTypes
import Identity
import Logging
import Logs
import Metrics
import NIOCore
import Runtime
import Synchronization

/// Where HTTP ends and routes begin: finds the route, identifies the client, runs the route, turns errors into answers
/// and writes the log line. Errors become responses here and nowhere else.
struct RequestHandler: Sendable {
    /// The longest request target, in bytes.
    static let maximumTarget = 8 << 10

    private let routes: Routes
    private let authenticator: any Authenticating
    private let signer: URLSigner?
    private let limiter: RequestLimiter?
    private let slots: RequestSlots
    private let metrics: RequestMetrics
    private let accessLog: AccessLog?
    private let logger: Logger
    private let ids = RequestIDs()
    private let dates = DateCache()

    /// - Parameters:
    ///   - signer: checks signed URLs; nil: none is good.
    ///   - limiter: limits requests by address; nil: there is no limit.
    ///   - slots: places for requests that may open files.
    ///   - metrics: makes the counters and timers.
    init(
        routes: Routes, authenticator: any Authenticating, signer: URLSigner? = nil, limiter: RequestLimiter? = nil,
        slots: RequestSlots, accessLog: AccessLog?, logger: Logger, metrics: any MetricsFactory
    ) {
        self.signer = signer
        self.slots = slots
        self.metrics = RequestMetrics(routes: routes.routes.lazy.map(\.name), factory: metrics)
        self.limiter = limiter
        self.routes = routes
        self.authenticator = authenticator
        self.accessLog = accessLog
        self.logger = logger
    }

    /// Answers one request.
    /// - Parameters:
    ///   - parts: where its body comes from.
    ///   - writer: where the answer goes.
    /// - Throws: if the answer could not be sent whole.
    func serve(
        _ head: HTTPRequest, _ parts: RequestParts, _ writer: ResponseSender.Writer, on connection: Connection
    ) async throws {
        connection.begin()
        defer { connection.end() }
        let start = NIODeadline.now()
        metrics.began()
        let fields = head.headerFields
        let sentID = fields[.vcapRequestID] ?? fields[.requestID]
        let id = if let sentID, RequestIDs.isSane(sentID) { sentID } else { ids.next() }
        let received = ByteCounter()
        var request = Request(
            method: head.method, target: head.path ?? "/", headers: fields, id: id, peer: connection.peer,
            address: connection.address, authority: head.authority, isSecure: head.scheme == "https",
            source: source(fields, parts, connection, received), logger: logger)
        defer { request.source.release() }
        var use = Use()
        defer { giveBack(use, connection) }
        var response = await answer(&request, connection, &use)
        response.headers[.date] = dates.now
        response.headers[.requestID] = id
        response.headers[.vcapRequestID] = id
        if let length = response.body.length, request.method != .head || response.headers[.contentLength] == nil {
            response.headers[.contentLength] = String(length)
        }
        var delivery = ResponseSender(connection: connection, isHead: request.method == .head)
        defer {
            let nanoseconds = (.now() - start).nanoseconds
            metrics.ended(
                route: use.route, status: response.status.code, received: received.count, sent: delivery.sent,
                nanoseconds: nanoseconds)
            accessLog?.record(
                AccessLog.Entry(
                    method: request.method.rawValue, path: request.path, status: response.status.code,
                    sent: delivery.sent,
                    received: received.count, nanoseconds: nanoseconds,
                    user: request.principal?.name, id: id, peer: connection.peer, wasCut: !delivery.isComplete))
        }
        try await delivery.send(response, writer)
    }

    /// What a request holds besides its body, and the route that it takes.
    private struct Use {
        var route = RequestMetrics.noRoute
        var slot: RequestSlots.Slot?
        /// The memory for sending the answer, in bytes.
        var memory = 0
    }

    /// Takes a place for a request whose sender is known, and counts its memory for that sender's share.
    /// - Throws: 503 if there is no place for it.
    private func take(_ use: inout Use, for request: Request, _ connection: Connection) throws(HTTPFailure) {
        let principal = request.principal
        let share: Budget.Share =
            principal.map { $0.may(.operator) ? .operators : .users } ?? .strangers
        connection.belongs(to: share)
        if share == .operators { request.source.belongsToOperators() }
        // Operators may take the places of users, and those that are kept for operators besides.
        guard !connection.isSpare || share == .operators,
            let slot = slots.take(
                share == .operators ? [.users, .operators] : [share],
                // Requests with signed URLs are no one user's: each address has its own part of the places.
                for: request.isSigned
                    ? .stranger(connection.address)
                    : principal.map { .user(UserName($0.name)) } ?? .stranger(connection.address))
        else { throw .busy }
        use.slot = slot
    }

    /// Takes the memory that an answer needs while it is sent.
    /// - Throws: 503 if there is none; the answer is then discarded.
    private func take(_ use: inout Use, for response: Response, _ request: Request, _ connection: Connection)
        async throws
    {
        let bytes = request.method == .head ? 0 : response.body.memory(bySystem: connection.transfer == .sendfile)
        guard bytes > 0 else { return }
        guard connection.memory.take(bytes) else {
            await response.body.discard()
            throw HTTPFailure.busy
        }
        use.memory = bytes
    }

    private func giveBack(_ use: Use, _ connection: Connection) {
        if let slot = use.slot { slots.give(slot) }
        if use.memory > 0 { connection.memory.give(use.memory) }
    }

    private func source(
        _ fields: HTTPFields, _ parts: RequestParts, _ connection: Connection, _ received: ByteCounter
    ) -> BodySource {
        let length = fields[.contentLength].flatMap { Int64($0) }
        if fields[.transferEncoding] == nil, length ?? 0 == 0 { return .bytes([]) }
        return .network(
            NetworkBody(
                parts: parts, length: fields[.transferEncoding] == nil ? length : nil, connection: connection,
                expectsContinue: fields[.expect] != nil, received: received, memory: connection.holdingForDocument()))
    }

    /// Finds and runs the route. Never throws: what goes wrong becomes an answer.
    private func answer(_ request: inout Request, _ connection: Connection, _ use: inout Use) async -> Response {
        var errors: any ErrorEnvelope = PlainErrors()
        do {
            guard request.path.utf8.count + request.queryText.utf8.count < Self.maximumTarget else {
                throw HTTPFailure(.uriTooLong, "the request target is too long")
            }
            switch routes.match(request.method, request.path) {
            case .found(let route, let parameters):
                errors = route.errors
                use.route = route.name
                request.parameters = parameters
                let isSigned = route.takesSignatures ? try takeSignature(&request, connection) : false
                if !isSigned { try await authorise(&request, route.access, takesTokens: route.takesTokens, connection) }
                if route.access != .open { try take(&use, for: request, connection) }
                let response = try await run(route, request)
                try await take(&use, for: response, request, connection)
                return response
            case .badPath(let envelope):
                errors = envelope
                try await authorise(&request, .authenticated, connection)
                throw HTTPFailure.badPath
            case .otherMethods(let methods, let envelope):
                errors = envelope
                try await authorise(&request, .authenticated, connection)
                throw HTTPFailure.methodNotAllowed(methods)
            case .none:
                try await authorise(&request, .authenticated, connection)
                throw HTTPFailure.notFound
            }
        } catch {
            return response(to: error, request, errors)
        }
    }

    private func run(_ route: Routes.Route, _ request: Request) async throws -> Response {
        switch route.execution {
        case .eventLoop: try await route.handler(request)
        case .pool:
            try await withTaskExecutorPreference(globalConcurrentExecutor) { try await route.handler(request) }
        }
    }

    /// Lets a request in that has a signed URL. Whoever sends an Authorization header is asked for that instead, and
    /// his URL's signature is not looked at.
    /// - Returns: false if the URL is not signed.
    /// - Throws: 403 if its signature is not good.
    private func takeSignature(_ request: inout Request, _ connection: Connection) throws -> Bool {
        guard let signer, request.authorization == nil else { return false }
        switch signer.verdict(on: request.method.rawValue, path: request.path, query: request.queryText) {
        case .unsigned: return false
        case .good:
            try limiter?.take(connection.address)
            request.principal = URLSigner.principal
            request.isSigned = true
            return true
        case .refused(let reason):
            try limiter?.take(connection.address)
            request.logger.info("a signed URL was refused", metadata: ["reason": "\(reason)"])
            throw HTTPFailure.badSignature
        }
    }

    private func authorise(
        _ request: inout Request, _ access: Access, takesTokens: Bool = false, _ connection: Connection
    ) async throws {
        if access == .open { return }
        try limiter?.take(connection.address)
        if let credentials = request.authorization {
            if takesTokens, TokenSigner.isToken(credentials) {
                switch authenticator.bearer(credentials, certified: connection.certifiedUser) {
                case .user(let principal)?: request.principal = principal
                case .nobody(let anonymous)?:
                    request.anonymous = anonymous
                    guard access.answersAnonymous else { throw HTTPFailure.unauthorized }
                    return try request.require(access)
                case nil: throw HTTPFailure.badToken
                }
            } else if let principal = authenticator.known(credentials) {
                request.principal = principal
            } else {
                request.principal = try await authenticator.authenticate(credentials, from: connection.address)
            }
        } else if let user = connection.certifiedUser {
            request.principal = authenticator.certified(user)
        } else if access.answersAnonymous {
            request.anonymous = authenticator.anonymous
            return try request.require(access)
        }
        guard request.principal != nil else { throw HTTPFailure.unauthorized }
        try request.require(access)
    }

    private func turnedAway(_ error: AuthenticationError?) -> HTTPFailure? {
        switch error {
        case .overloaded?: .overloaded
        case .tooManyFailures(let seconds)?: .tooManyFailures(retryAfter: seconds)
        default: nil
        }
    }

    private func response(to error: any Error, _ request: Request, _ errors: any ErrorEnvelope) -> Response {
        let failure: HTTPFailure
        if let known = error as? HTTPFailure {
            failure = known
        } else if let known = turnedAway(error as? AuthenticationError) {
            failure = known
        } else if Task.isCancelled {
            // The client is gone: the request failed because of that, which is nobody's fault.
            failure = .clientGone
        } else {
            failure = errors.failure(for: error) ?? .inside(requestID: request.id)
            // The answer leaves out what went wrong inside, so the log has it.
            if failure.status.kind == .serverError {
                request.logger.error(
                    "a request failed",
                    metadata: [
                        "reason": "\(error)", "method": "\(request.method)", "path": "\(request.path.prefix(256))",
                    ])
            }
        }
        let body = errors.body(of: failure, requestID: request.id)
        var headers = failure.headers
        for field in errors.headers { headers.append(field) }
        if failure.status == .unauthorized { headers[values: .wwwAuthenticate] = errors.challenges(for: request) }
        return .bytes(body.bytes, contentType: body.contentType, status: failure.status, headers: headers)
    }
}

extension HTTPField.Name {
    static let requestID = HTTPField.Name("X-Request-Id") ?? .from
    static let vcapRequestID = HTTPField.Name("X-Vcap-Request-Id") ?? .from
}

/// Limits how many requests a second a client address makes. It may save up unused requests of the last minute, so
/// that a rollout's pulls, all behind one NAT address, come through at once.
final class RequestLimiter: Sendable {
    /// How many addresses are remembered; an address that was forgotten begins with a minute's requests.
    static let addresses = 16_384
    /// For how many seconds an address can save up requests.
    static let saved: Int64 = 60

    private let table: Mutex<AddressLimiter>
    private let now: @Sendable () -> NIODeadline

    /// - Parameter rate: requests a second.
    init(rate: Int, now: @escaping @Sendable () -> NIODeadline) {
        self.now = now
        let rate = max(1, min(rate, 1_000_000))
        table = Mutex(
            AddressLimiter(
                burst: rate * Int(Self.saved), interval: .nanoseconds(1_000_000_000 / Int64(rate)),
                maximum: Self.addresses))
    }

    /// Counts a request.
    /// - Throws: 429 with the seconds until the next one is taken.
    func take(_ address: ClientAddress) throws(HTTPFailure) {
        let now = now()
        guard let wait = table.withLock({ $0.take(address, now: now) }) else { return }
        throw .tooManyRequests(retryAfter: max(1, Int((wait.nanoseconds + 999_999_999) / 1_000_000_000)))
    }
}

/// Makes ids for requests.
final class RequestIDs: Sendable {
    static let maximumLength = 128

    private let prefix: String
    private let counter = Atomic<UInt64>(0)

    init() {
        var generator = SystemRandomNumberGenerator()
        prefix = String(generator.next() as UInt64 | 1 << 63, radix: 16) + "-"
    }

    func next() -> String {
        prefix + String(counter.wrappingAdd(1, ordering: .relaxed).newValue, radix: 16)
    }

    /// Whether a client's own id is accepted: printable ASCII without spaces, quotes and backslashes.
    static func isSane(_ id: String) -> Bool {
        (1...maximumLength).contains(id.utf8.count)
            && id.utf8.allSatisfy {
                $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
            }
    }
}

/// The value of the Date header, made once a second.
final class DateCache: Sendable {
    private let value = Mutex((seconds: 0, text: ""))

    var now: String {
        let seconds = time(nil)
        return value.withLock { value in
            if value.seconds != seconds {
                value = (seconds, Timestamp(seconds: Int64(seconds)).httpDate)
            }
            return value.text
        }
    }
}
