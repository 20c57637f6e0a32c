public import HTTPTypes
public import Identity

/// Everything a server answers, or the part of it that one API brings along.
public struct Routes: Sendable {
    public typealias Handler = @Sendable (Request) async throws -> Response

    struct Route: Sendable {
        let pattern: RoutePattern
        /// nil: every method.
        let method: HTTPRequest.Method?
        let access: Access
        let execution: Execution
        let errors: any ErrorEnvelope
        let handler: Handler
    }

    enum Match {
        case found(Route, Parameters)
        case badPath(any ErrorEnvelope)
        case otherMethods([HTTPRequest.Method], any ErrorEnvelope)
        case none
    }

    private let errors: any ErrorEnvelope
    private(set) var routes: [Route] = []

    /// - Parameter errors: how failures of the routes added here are worded.
    public init(errors: any ErrorEnvelope = PlainErrors()) { self.errors = errors }

    /// The methods and patterns of all routes, in the order in which they are tried; nil takes every method.
    public var patterns: [(method: HTTPRequest.Method?, pattern: RoutePattern)] {
        routes.map { ($0.method, $0.pattern) }
    }

    /// Adds a route.
    /// - Parameters:
    ///   - method: nil takes every method. A route for GET answers HEAD too, unless HEAD has its own.
    ///   - access: whom it answers.
    public mutating func on(
        _ method: HTTPRequest.Method?, _ pattern: RoutePattern, access: Access, execution: Execution = .pool,
        _ handler: @escaping Handler
    ) {
        let route = Route(
            pattern: pattern, method: method, access: access, execution: execution, errors: errors, handler: handler)
        insert(route)
    }

    public mutating func get(
        _ pattern: RoutePattern, access: Access, execution: Execution = .pool, _ handler: @escaping Handler
    ) { on(.get, pattern, access: access, execution: execution, handler) }

    public mutating func head(_ pattern: RoutePattern, access: Access, _ handler: @escaping Handler) {
        on(.head, pattern, access: access, handler)
    }

    public mutating func put(_ pattern: RoutePattern, access: Access, _ handler: @escaping Handler) {
        on(.put, pattern, access: access, handler)
    }

    public mutating func post(_ pattern: RoutePattern, access: Access, _ handler: @escaping Handler) {
        on(.post, pattern, access: access, handler)
    }

    public mutating func patch(_ pattern: RoutePattern, access: Access, _ handler: @escaping Handler) {
        on(.patch, pattern, access: access, handler)
    }

    public mutating func delete(_ pattern: RoutePattern, access: Access, _ handler: @escaping Handler) {
        on(.delete, pattern, access: access, handler)
    }

    /// Adds the routes of an API, which keep their own wording of failures.
    public mutating func add(_ other: Routes) {
        for route in other.routes { insert(route) }
    }

    private mutating func insert(_ route: Route) {
        let index = routes.firstIndex { Self.isBefore(route, $0) } ?? routes.endIndex
        routes.insert(route, at: index)
    }

    /// Text before parameters, component by component; whole paths before `**`; and for the same path HEAD's own route
    /// before GET's and routes with a method before those without.
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

/// Whom a route answers. There is no default: each route says it.
///
/// A request's user is the one of its Authorization header, or else the one that the client's certificate names.
public enum Access: Hashable, Sendable {
    /// Everybody, without asking who it is.
    case open
    /// Everybody, also those who don't say who they are: the route asks what they may do by itself (`Request.require`
    /// with a repository, `Request.requireUser`). Credentials that are not good are refused all the same.
    case anonymous
    /// Every known user; the route asks for more by itself (`Request.require`).
    case authenticated
    /// Users who have a role everywhere.
    case role(Role)
}

/// Where a route runs.
public enum Execution: Hashable, Sendable {
    /// On the shared threads of the process: what most routes want.
    case pool
    /// On the connection's event loop, without waking another thread. For routes that answer within microseconds and
    /// never block: while one runs, no other connection of its loop is served. What it awaits runs there too.
    case eventLoop
}
