/// Where a Cistern server is and who asks it.
public struct ServerConnection: Sendable {
    /// `https://host:port` or `http://host:port`, without a path.
    public let url: String
    public let user: String
    let password: String
    /// A PEM file with the authority that the server's certificate must be signed by; nil: the system's.
    public let authorityFile: String?

    public init(url: String, user: String, password: String, authorityFile: String?) {
        self.url = url.hasSuffix("/") ? String(url.dropLast()) : url
        self.user = user
        self.password = password
        self.authorityFile = authorityFile
    }
}

extension ServerConnection: CustomStringConvertible, CustomReflectable {
    /// Without the password.
    public var description: String { "\(user) at \(url)" }
    public var customMirror: Mirror { Mirror(self, children: ["url": url, "user": user]) }
}
