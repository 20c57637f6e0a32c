import TestSupport

/// What a client has to know of a registry: where it is, whom to trust and who is asking.
struct RegistryAccess: Sendable {
    /// `host:port`
    let address: String
    /// A PEM file.
    let certificateAuthority: String
    let user: String
    let password: String

    var credentials: String { "\(user):\(password)" }

    /// A directory as c/image wants it: the authority as `ca.crt`.
    func certificateDirectory(in directory: String) async throws -> String {
        try await runSuccessfully("mkdir", ["-p", directory + "/certs"])
        try await runSuccessfully("cp", [certificateAuthority, directory + "/certs/ca.crt"])
        return directory + "/certs"
    }
}

extension RunningServer {
    func access(as user: User = .pull) throws -> RegistryAccess {
        RegistryAccess(
            address: address, certificateAuthority: certificateAuthority, user: user.rawValue,
            password: try password(of: user))
    }
}
