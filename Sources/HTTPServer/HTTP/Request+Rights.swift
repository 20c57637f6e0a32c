public import Identity

extension Request {
    /// Whether whoever asks has a role everywhere or on this repository.
    public func may(_ role: Role, on repository: String) -> Bool {
        (principal ?? anonymous)?.may(role, on: repository) ?? false
    }

    /// Asks for a user, whatever it may do.
    /// - Throws: 401 for those who don't say who they are.
    @discardableResult
    public func requireUser() throws(HTTPFailure) -> Principal {
        guard let principal else { throw .unauthorized }
        return principal
    }

    /// Asks for a role everywhere.
    /// - Throws: 401 for those who don't say who they are, 403 for users without it.
    @discardableResult
    public func require(_ role: Role) throws(HTTPFailure) -> Principal {
        let principal = try requireUser()
        guard principal.may(role) else { throw .forbidden(role) }
        return principal
    }

    /// Asks for a role everywhere or on a repository.
    /// - Throws: 401 for those who don't say who they are and don't have it, 403 for users without it.
    public func require(_ role: Role, on repository: String) throws(HTTPFailure) {
        guard !may(role, on: repository) else { return }
        try requireUser()
        throw .forbidden(role, on: repository)
    }
}
