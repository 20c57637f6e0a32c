public import Identity

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
