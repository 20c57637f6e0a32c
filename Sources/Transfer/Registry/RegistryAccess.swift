/// How another registry is asked.
public struct RegistryAccess: Sendable {
    let user: String?
    let password: String
    /// A PEM file with the authority that its certificate must be signed by; nil: the system's.
    let authorityFile: String?
    /// Whether it is asked without TLS.
    let isPlain: Bool

    /// - Parameter user: nil: nobody says who asks.
    public init(user: String? = nil, password: String = "", authorityFile: String? = nil, isPlain: Bool = false) {
        self.user = user
        self.password = password
        self.authorityFile = authorityFile
        self.isPlain = isPlain
    }
}

extension RegistryAccess: CustomStringConvertible, CustomReflectable {
    /// Without the password.
    public var description: String { user ?? "nobody" }
    public var customMirror: Mirror { Mirror(self, children: ["user": user ?? ""]) }
}
