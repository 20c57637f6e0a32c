import Foundation
import Glibc
import Runtime

/// A URL's scheme, host and port, and what its paths begin with.
struct Endpoint: Sendable, Hashable {
    let isTLS: Bool
    /// A name or an address, without brackets.
    let host: String
    let port: Int
    /// Without a slash at its end.
    let path: String

    init?(_ url: String) {
        guard let parts = URLComponents(string: url.contains("://") ? url : "https://\(url)"),
            let scheme = parts.scheme?.lowercased(), ["http", "https"].contains(scheme), parts.query == nil,
            parts.user == nil, parts.fragment == nil,
            let host = parts.host?.trimmingCharacters(in: CharacterSet(charactersIn: "[]")), !host.isEmpty
        else { return nil }
        isTLS = scheme == "https"
        self.host = host
        port = parts.port ?? (isTLS ? 443 : 80)
        guard (1...65535).contains(port) else { return nil }
        path =
            parts.percentEncodedPath.hasSuffix("/")
            ? String(parts.percentEncodedPath.dropLast()) : parts.percentEncodedPath
    }

    /// The host as it stands in a URL, with the port.
    var authority: String { Self.authority(host, port) }

    static func authority(_ host: String, _ port: Int) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

/// Where an API server is, whom to trust there, and who we are.
package struct ClusterConnection: Sendable, CustomStringConvertible, CustomReflectable {
    struct Proxy: Sendable, Hashable {
        let isSOCKS: Bool
        let host: String
        let port: Int
        let credentials: String?
    }

    enum Login: Sendable {
        case none
        case token(String)
        /// A file that is replaced while the program runs, as the tokens of service accounts are.
        case tokenFile(String)
        case basic(user: String, password: String)
        case exec(ExecPlugin)
    }

    let endpoint: Endpoint
    /// The namespace where none is given.
    package var namespace = "default"
    /// The name that the server's certificate must have, if not the URL's.
    var tlsServerName: String?
    var skipsVerification = false
    /// The only authorities that are trusted; nil: the system's.
    var authority: Kubeconfig.Source?
    var identity: (certificate: Kubeconfig.Source, key: Kubeconfig.Source)?
    var login = Login.none
    var proxy: Proxy?
    /// Headers by which a user acts as another one.
    var impersonation: [(name: String, value: String)] = []

    init(endpoint: Endpoint) { self.endpoint = endpoint }

    /// - Parameters:
    ///   - url: http or https, with an optional path.
    ///   - authority: PEM; nil for the system's authorities.
    package init(url: String, authority: [UInt8]? = nil, token: String? = nil) throws(KubernetesError) {
        guard let endpoint = Endpoint(url) else { throw .configuration("this is no http or https URL of a server") }
        self.endpoint = endpoint
        self.authority = authority.map { .bytes($0) }
        if let token { login = .token(token) }
    }

    /// Address and namespace; what is secret is left out.
    package var description: String { "\(endpoint.authority), namespace \(namespace)" }
    package var customMirror: Mirror { Mirror(self, children: ["server": endpoint.authority, "namespace": namespace]) }

    /// The connection of a pod: its service account's token, which is read again at least each minute, since it expires,
    /// and the cluster's authority (Kubernetes documentation, "Accessing the Kubernetes API from a Pod").
    /// - Parameters:
    ///   - environment: `KUBERNETES_SERVICE_HOST`, also an IPv6 address, and `KUBERNETES_SERVICE_PORT`.
    ///   - directory: where the service account is mounted.
    /// - Throws: `KubernetesError.configuration` outside of a pod.
    package static func inCluster(
        environment: [String: String], directory: String = "/var/run/secrets/kubernetes.io/serviceaccount"
    ) throws(KubernetesError) -> ClusterConnection {
        guard let host = environment["KUBERNETES_SERVICE_HOST"], !host.isEmpty,
            let port = environment["KUBERNETES_SERVICE_PORT"].flatMap({ Int($0) }),
            let endpoint = Endpoint("https://\(Endpoint.authority(host, port))")
        else { throw .configuration("this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set") }
        guard access("\(directory)/token", R_OK) == 0 else {
            throw .configuration("\(directory)/token can't be read: the pod needs a service account's token")
        }
        var connection = ClusterConnection(endpoint: endpoint)
        connection.authority = .file("\(directory)/ca.crt")
        connection.login = .tokenFile("\(directory)/token")
        if let text = try? SmallFile.text("\(directory)/namespace", maximum: 4096) {
            let name = text.trimmingCharacters(in: .whitespacesAndNewlines)
            if !name.isEmpty { connection.namespace = name }
        }
        return connection
    }

    /// What kubectl would use: the kubeconfig's context, and inside a pod without a kubeconfig its service account.
    package static func `default`(
        environment: [String: String], context: String? = nil
    ) throws(KubernetesError) -> ClusterConnection {
        let home = environment["HOME"].map { access("\($0)/.kube/config", F_OK) == 0 } ?? false
        if environment["KUBECONFIG"].map({ !$0.isEmpty }) ?? home {
            return try Kubeconfig(environment: environment).connection(context: context)
        }
        return try inCluster(environment: environment)
    }
}

extension ClusterConnection.Proxy {
    init(_ url: String) throws(KubernetesError) {
        guard let parts = URLComponents(string: url), let host = parts.host, !host.isEmpty else {
            throw .configuration("proxy-url is no URL")
        }
        let port: Int
        switch parts.scheme?.lowercased() {
        case "http":
            isSOCKS = false
            port = parts.port ?? 80
        case "socks5":
            isSOCKS = true
            port = parts.port ?? 1080
        default: throw .configuration("proxy-url must begin with http:// or socks5://")
        }
        guard (1...65535).contains(port) else { throw .configuration("proxy-url has no valid port") }
        self.port = port
        self.host = host.trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        credentials = parts.user.map { Base64.encode(Array("\($0):\(parts.password ?? "")".utf8)) }
        guard !isSOCKS || credentials == nil else {
            throw .configuration("proxy-url: a user and password for a SOCKS proxy can't be used")
        }
    }
}

enum Base64 {
    static func encode(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

    /// White space between the characters is left out, as kubectl does.
    static func decode(_ text: String) -> [UInt8]? {
        Data(base64Encoded: text.filter { !$0.isWhitespace }).map { Array($0) }
    }
}
