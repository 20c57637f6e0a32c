import TestSupport

/// What a client has to know of a registry: where it is, whom to trust and who is asking.
struct RegistryAccess: Sendable {
    /// `host:port`
    let address: String
    /// A PEM file.
    let certificateAuthority: String
    /// Name and password; nil: nobody in particular.
    let login: (user: String, password: String)?

    /// A client's option for the credentials; nothing for nobody.
    func credentials(_ option: String) -> [String] { login.map { [option, "\($0.user):\($0.password)"] } ?? [] }

    /// A directory as c/image wants it: the authority as `ca.crt`.
    func certificateDirectory(in directory: String) async throws -> String {
        try await runSuccessfully("mkdir", ["-p", directory + "/certs"])
        try await runSuccessfully("cp", [certificateAuthority, directory + "/certs/ca.crt"])
        return directory + "/certs"
    }
}

extension RunningServer {
    func access(as user: User? = .pull) throws -> RegistryAccess {
        RegistryAccess(
            address: address, certificateAuthority: certificateAuthority,
            login: try user.map { ($0.rawValue, try password(of: $0)) })
    }
}
