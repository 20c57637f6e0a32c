import Glibc
import JSON
import Runtime

/// The files by which kubectl knows clusters, users and contexts (Kubernetes documentation, "Organizing Cluster Access
/// Using kubeconfig Files"), merged.
package struct Kubeconfig: Sendable {
    /// Files are read when they are needed, since they may be replaced while the program runs.
    enum Source: Sendable, Hashable {
        case bytes([UInt8])
        case file(String)
    }

    struct Entry: Sendable {
        let content: JSONValue
        /// The directory of the file in which the entry stands: its relative paths begin there.
        let directory: String
    }

    /// The largest file that is read, in bytes.
    static let maximumFile = 4 << 20

    private(set) var currentContext: String?
    private var contexts: [String: Entry] = [:]
    private var clusters: [String: Entry] = [:]
    private var users: [String: Entry] = [:]

    /// Reads the files that `KUBECONFIG` names, else `~/.kube/config`. Of entries with the same name the first file's
    /// counts as a whole, and likewise the first current context. Files that are missing are left out.
    /// - Throws: `KubernetesError.configuration`, also if there is no file at all.
    package init(environment: [String: String]) throws(KubernetesError) {
        let listed = (environment["KUBECONFIG"] ?? "").split(separator: ":").map(String.init)
        let files = listed.isEmpty ? environment["HOME"].map { ["\($0)/.kube/config"] } ?? [] : listed
        var isFound = false
        for file in files {
            let bytes: [UInt8]
            do throws(SmallFile.Failure) { bytes = try SmallFile.read(file, maximum: Self.maximumFile) } catch {
                if error.isMissing { continue }
                throw .configuration(error.description)
            }
            isFound = true
            try merge(bytes, file: file)
        }
        guard isFound else {
            throw .configuration("there is no kubeconfig: set KUBECONFIG or make ~/.kube/config")
        }
    }

    /// - Parameters:
    ///   - text: one file's text.
    ///   - directory: where its relative paths begin.
    package init(parsing text: String, directory: String) throws(KubernetesError) {
        try merge(Array(text.utf8), file: directory + "/config")
    }

    private mutating func merge(_ bytes: [UInt8], file: String) throws(KubernetesError) {
        let document = try YAMLDocument.parse(bytes, file: file)
        let absolute = file.hasPrefix("/") ? file : Self.workingDirectory + "/" + file
        let directory = String(absolute[..<(absolute.lastIndex(of: "/") ?? absolute.startIndex)])
        if currentContext == nil, let name = document["current-context"]?.yamlText, !name.isEmpty {
            currentContext = name
        }
        func entries(_ list: String, _ member: String) -> [String: Entry] {
            var entries: [String: Entry] = [:]
            for item in document[list]?.array ?? [] {
                guard let name = item["name"]?.yamlText, entries[name] == nil else { continue }
                entries[name] = Entry(content: item[member] ?? .null, directory: directory)
            }
            return entries
        }
        contexts.merge(entries("contexts", "context")) { first, _ in first }
        clusters.merge(entries("clusters", "cluster")) { first, _ in first }
        users.merge(entries("users", "user")) { first, _ in first }
    }

    private static var workingDirectory: String {
        guard let path = getcwd(nil, 0) else { return "" }
        defer { free(path) }
        return String(cString: path)
    }

    package var contextNames: [String] { contexts.keys.sorted() }

    /// What a context says about the cluster and the user.
    /// - Parameter name: nil for the current context.
    /// - Throws: `KubernetesError.configuration`, which never repeats a secret.
    package func connection(context name: String? = nil) throws(KubernetesError) -> ClusterConnection {
        guard let name = name ?? currentContext else {
            throw .configuration("the kubeconfig has no current context: name one of \(contextNames)")
        }
        guard let context = contexts[name]?.content else {
            throw .configuration("the kubeconfig has no context '\(name)': it has \(contextNames)")
        }
        guard let clusterName = context["cluster"]?.yamlText, let cluster = clusters[clusterName] else {
            throw .configuration("the context '\(name)' names no cluster that the kubeconfig has")
        }
        guard let server = cluster.content["server"]?.yamlText, let endpoint = Endpoint(server) else {
            throw .configuration("the cluster '\(clusterName)' has no server that is an http or https URL")
        }
        var connection = ClusterConnection(endpoint: endpoint)
        connection.namespace = context["namespace"]?.yamlText ?? "default"
        connection.tlsServerName = cluster.content["tls-server-name"]?.yamlText.flatMap { $0.isEmpty ? nil : $0 }
        connection.skipsVerification = cluster.content["insecure-skip-tls-verify"]?.bool ?? false
        connection.authority = try Self.source(cluster, "certificate-authority", "the cluster '\(clusterName)'")
        if let proxy = cluster.content["proxy-url"]?.yamlText, !proxy.isEmpty {
            connection.proxy = try ClusterConnection.Proxy(proxy)
            guard connection.tlsServerName == nil else {
                throw .configuration("the cluster '\(clusterName)' has both tls-server-name and proxy-url")
            }
        }
        if let userName = context["user"]?.yamlText, !userName.isEmpty {
            guard let user = users[userName] else {
                throw .configuration("the context '\(name)' names the user '\(userName)', whom the kubeconfig has not")
            }
            try Self.read(user, "the user '\(userName)'", cluster, into: &connection)
        }
        return connection
    }

    private static func read(
        _ user: Entry, _ who: String, _ cluster: Entry, into connection: inout ClusterConnection
    ) throws(KubernetesError) {
        let content = user.content
        guard content["auth-provider"] == nil else {
            throw .configuration("\(who) has an auth-provider, which Kubernetes 1.26 removed: use an exec plugin")
        }
        let certificate = try source(user, "client-certificate", who)
        let key = try source(user, "client-key", who)
        guard (certificate == nil) == (key == nil) else {
            throw .configuration("\(who) has only one of client-certificate and client-key")
        }
        if let certificate, let key { connection.identity = (certificate, key) }
        // A token goes before user and password, and a token's file before the token.
        if let file = content["tokenFile"]?.yamlText, !file.isEmpty {
            connection.login = .tokenFile(absolute(file, user.directory))
        } else if let token = content["token"]?.yamlText, !token.isEmpty {
            connection.login = .token(token)
        } else if let name = content["username"]?.yamlText, let password = content["password"]?.yamlText {
            connection.login = .basic(user: name, password: password)
        }
        if let exec = content["exec"], exec != .null {
            guard case .none = connection.login, connection.identity == nil else {
                throw .configuration("\(who) has both an exec plugin and credentials")
            }
            connection.login = .exec(try ExecPlugin(exec, who: who, directory: user.directory, cluster: cluster))
        }
        if let name = content["as"]?.yamlText, !name.isEmpty {
            connection.impersonation.append(("Impersonate-User", name))
            if let uid = content["as-uid"]?.yamlText, !uid.isEmpty {
                connection.impersonation.append(("Impersonate-Uid", uid))
            }
            for group in content["as-groups"]?.array ?? [] {
                if let group = group.yamlText { connection.impersonation.append(("Impersonate-Group", group)) }
            }
        }
    }

    /// The member `<name>-data`, which is base64, or else the file that the member `name` names.
    static func source(_ entry: Entry, _ name: String, _ who: String) throws(KubernetesError) -> Source? {
        if let text = entry.content["\(name)-data"]?.yamlText, !text.isEmpty {
            guard let bytes = Base64.decode(text) else { throw .configuration("\(who): \(name)-data is no base64") }
            return .bytes(bytes)
        }
        guard let path = entry.content[name]?.yamlText, !path.isEmpty else { return nil }
        return .file(absolute(path, entry.directory))
    }

    static func absolute(_ path: String, _ directory: String) -> String {
        path.hasPrefix("/") ? path : "\(directory)/\(path)"
    }
}
