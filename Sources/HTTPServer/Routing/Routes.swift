public import HTTPTypes
public import Identity

/// All routes of a server, or those of one API.
public struct Routes: Sendable {
    public typealias Handler = @Sendable (Request) async throws -> Response

    /// A class, so that looking at each route for a match copies nothing of it.
    final class Route: Sendable {
        let pattern: RoutePattern
        /// nil: every method.
        let method: HTTPRequest.Method?
        let access: Access
        /// Whether a signed URL may stand in for a user.
        let takesSignatures: Bool
        /// Whether a token says who the user is.
        let takesTokens: Bool
        let execution: Execution
        let errors: any ErrorEnvelope
        let handler: Handler
        /// For metrics: `GET /droplets/:guid`.
        let name: String

        init(
            _ method: HTTPRequest.Method?, _ pattern: RoutePattern, access: Access, takesSignatures: Bool,
            takesTokens: Bool, execution: Execution, errors: any ErrorEnvelope, _ handler: @escaping Handler
        ) {
            self.takesSignatures = takesSignatures
            self.takesTokens = takesTokens
            self.pattern = pattern
            self.method = method
            self.access = access
            self.execution = execution
            self.errors = errors
            self.handler = handler
            name = "\(method?.rawValue ?? "*") \(pattern.text)"
        }
    }

    enum Match {
        case found(Route, Parameters)
        case badPath(any ErrorEnvelope)
        case otherMethods([HTTPRequest.Method], any ErrorEnvelope)
        case none
    }

    private let errors: any ErrorEnvelope
    private let table: AccessTable
    private(set) var routes: [Route] = []
    /// Routes without a row in the table of roles and routes. A server does not start with any.
    private(set) var missingRows: [String] = []

    /// - Parameters:
    ///   - errors: how failures of the routes added here are worded.
    ///   - table: says which clients the routes answer.
    public init(errors: any ErrorEnvelope = PlainErrors(), table: AccessTable = .cistern) {
        self.errors = errors
        self.table = table
    }

    /// The methods and patterns of all routes, in the order in which they are tried; nil takes every method.
    public var patterns: [(method: HTTPRequest.Method?, pattern: RoutePattern)] {
        routes.map { ($0.method, $0.pattern) }
    }

    /// Adds a route. Its row in the table says which clients it answers.
    /// - Parameter method: nil takes every method. A route for GET answers HEAD too, unless HEAD has its own.
    public mutating func on(
        _ method: HTTPRequest.Method?, _ pattern: RoutePattern, execution: Execution = .pool,
        _ handler: @escaping Handler
    ) {
        guard let row = table.row(method?.rawValue ?? "*", pattern.text) else {
            missingRows.append("\(method?.rawValue ?? "*") \(pattern.text)")
            return
        }
        on(
            method, pattern, access: row.access, takesSignatures: row.takesSignatures, takesTokens: row.takesTokens,
            execution: execution, handler)
    }

    public mutating func get(_ pattern: RoutePattern, execution: Execution = .pool, _ handler: @escaping Handler) {
        on(.get, pattern, execution: execution, handler)
    }

    public mutating func put(_ pattern: RoutePattern, _ handler: @escaping Handler) { on(.put, pattern, handler) }

    public mutating func delete(_ pattern: RoutePattern, _ handler: @escaping Handler) { on(.delete, pattern, handler) }

    /// Adds a route for the given clients, which needs no row in the table.
    mutating func on(
        _ method: HTTPRequest.Method?, _ pattern: RoutePattern, access: Access, takesSignatures: Bool = false,
        takesTokens: Bool = false, execution: Execution = .pool, _ handler: @escaping Handler
    ) {
        insert(
            Route(
                method, pattern, access: access, takesSignatures: takesSignatures, takesTokens: takesTokens,
                execution: execution, errors: errors, handler))
    }

    /// Requires that the sender of a request may use a route itself, and that the route takes signed URLs.
    /// - Parameter path: the route's, as it will be received.
    /// - Throws: 404 if there is no such route, 400 if the path is not escaped as it should be, 401 or 403 if the sender
    ///   may not use the route.
    package func requireSignable(
        _ method: HTTPRequest.Method, _ path: String, by request: Request
    ) throws(HTTPFailure) {
        switch match(method, path) {
        case .found(let route, let parameters) where route.takesSignatures:
            var other = request
            other.parameters = parameters
            try other.require(route.access)
        case .badPath: throw .badPath
        default: throw .notFound
        }
    }

    /// Adds the routes of an API, which keep their own wording of failures.
    public mutating func add(_ other: Routes) {
        for route in other.routes { insert(route) }
        missingRows += other.missingRows
    }

    private mutating func insert(_ route: Route) {
        let index = routes.firstIndex { Self.isBefore(route, $0) } ?? routes.endIndex
        routes.insert(route, at: index)
    }

    /// The order in which routes are tried: text before parameters, component by component; whole paths before `**`;
    /// and for the same path HEAD's own route before GET's, and routes with a method before those without.
    private static func isBefore(_ left: Route, _ right: Route) -> Bool {
        for (one, other) in zip(left.pattern.components, right.pattern.components) where one.rank != other.rank {
            return one.rank < other.rank
        }
        if left.pattern.takesRest != right.pattern.takesRest { return right.pattern.takesRest }
        if left.pattern.components.count != right.pattern.components.count {
            return left.pattern.components.count > right.pattern.components.count
        }
        return rank(left.method) < rank(right.method)
    }

    private static func rank(_ method: HTTPRequest.Method?) -> Int {
        switch method {
        case .head?: 0
        case .some: 1
        case nil: 2
        }
    }

    func match(_ method: HTTPRequest.Method, _ path: String) -> Match {
        var path = path
        return path.withUTF8 { match(method, $0) }
    }

    private func match(_ method: HTTPRequest.Method, _ path: UnsafeBufferPointer<UInt8>) -> Match {
        var others: [HTTPRequest.Method] = []
        var errors: (any ErrorEnvelope)?
        for route in routes {
            guard let match = route.pattern.match(path) else { continue }
            guard let parameters = match else { return .badPath(route.errors) }
            guard let only = route.method, only != method, (only, method) != (.get, .head) else {
                return .found(route, parameters)
            }
            others.append(only)
            errors = errors ?? route.errors
        }
        if let errors { return .otherMethods(others, errors) }
        return .none
    }
}

/// Where a route runs.
public enum Execution: Hashable, Sendable {
    /// On the shared threads of the process: what most routes want.
    case pool
    /// On the connection's event loop, without waking another thread. For routes that answer within microseconds and
    /// never block: while one runs, no other connection of its loop is served. What it awaits runs there too.
    case eventLoop
}
