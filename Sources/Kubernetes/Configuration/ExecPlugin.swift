import Glibc
import JSON
import Runtime

/// A program that hands out credentials (client.authentication.k8s.io/v1 and v1beta1, Kubernetes documentation,
/// "client-go credential plugins").
struct ExecPlugin: Sendable {
    /// What a plugin answered. It is kept out of every text.
    struct Credential: Sendable {
        let token: String?
        /// PEM.
        let certificate: [UInt8]?
        let key: [UInt8]?
        /// Nanoseconds since 1970; nil: for as long as the process runs, or until the server refuses it.
        let expiration: Int64?
    }

    static let maximumOutput = 1 << 20

    let command: String
    let arguments: [String]
    let environment: [(name: String, value: String)]
    let apiVersion: String
    let installHint: String?
    /// The cluster as the plugin is told of it, if it asks.
    let cluster: JSONValue?

    init(
        _ exec: JSONValue, who: String, directory: String, cluster: Kubeconfig.Entry
    ) throws(KubernetesError) {
        guard let command = exec["command"]?.yamlText, !command.isEmpty else {
            throw .configuration("\(who): exec has no command")
        }
        let version = exec["apiVersion"]?.yamlText ?? ""
        guard ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"].contains(version) else {
            throw .configuration("\(who): exec needs the apiVersion client.authentication.k8s.io/v1 or v1beta1")
        }
        guard exec["interactiveMode"]?.yamlText != "Always" else {
            throw .configuration("\(who): the exec plugin wants to ask a person, and there is none")
        }
        // A path with a slash begins at the kubeconfig's directory; a bare name is looked for in PATH.
        self.command = command.contains("/") ? Kubeconfig.absolute(command, directory) : command
        arguments = exec["args"]?.array?.compactMap(\.yamlText) ?? []
        environment =
            exec["env"]?.array?.compactMap { item in
                item["name"]?.yamlText.map { ($0, item["value"]?.yamlText ?? "") }
            } ?? []
        apiVersion = version
        installHint = exec["installHint"]?.yamlText.map { APIStatus.printable($0, 500) }
        self.cluster = try (exec["provideClusterInfo"]?.bool == true ? Self.information(cluster, who) : nil)
    }

    /// The member `spec.cluster` of an `ExecCredential`. An authority's file is read here, once.
    private static func information(_ cluster: Kubeconfig.Entry, _ who: String) throws(KubernetesError) -> JSONValue {
        var members: JSONObject = [:]
        for name in ["server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression"] {
            if let value = cluster.content[name], value != .null { members[name] = value }
        }
        switch try Kubeconfig.source(cluster, "certificate-authority", who) {
        case .bytes(let bytes): members["certificate-authority-data"] = .string(Base64.encode(bytes))
        case .file(let path):
            do throws(SmallFile.Failure) {
                let bytes = try SmallFile.read(path, maximum: Kubeconfig.maximumFile)
                members["certificate-authority-data"] = .string(Base64.encode(bytes))
            } catch {
                throw .configuration(error.description)
            }
        case nil: break
        }
        let own = cluster.content["extensions"]?.array?.first {
            $0["name"]?.yamlText == "client.authentication.k8s.io/exec"
        }
        if let config = own?["extension"] { members["config"] = config }
        return .object(members)
    }

    /// Runs the program and waits for it: call it on a thread that may block.
    /// - Parameter limit: how long the program may run; then it is killed, with what it started.
    /// - Throws: `KubernetesError.configuration`, which repeats nothing that the program printed on standard output.
    func run(within limit: Duration, environment inherited: [String: String]) throws(KubernetesError) -> Credential {
        guard let path = find(in: inherited["PATH"] ?? "/usr/local/bin:/usr/bin:/bin") else {
            throw failure("it is not there" + (installHint.map { ": \($0)" } ?? ""))
        }
        var spec: JSONObject = ["interactive": false]
        if let cluster { spec["cluster"] = cluster }
        let information: JSONValue = [
            "apiVersion": .string(apiVersion), "kind": "ExecCredential", "spec": .object(spec),
        ]
        var variables = inherited
        for (name, value) in environment { variables[name] = value }
        variables["KUBERNETES_EXEC_INFO"] = information.canonicalText
        return try parse(try output(path, variables, until: ContinuousClock.now + limit))
    }

    private func find(in searchPath: String) -> String? {
        if command.contains("/") { return access(command, X_OK) == 0 ? command : nil }
        return searchPath.split(separator: ":").map { "\($0)/\(command)" }.first { access($0, X_OK) == 0 }
    }

    private func failure(_ reason: String) -> KubernetesError {
        .configuration("the exec plugin '\(command)': \(reason)")
    }

    private func output(
        _ path: String, _ variables: [String: String], until deadline: ContinuousClock.Instant
    ) throws(KubernetesError) -> [UInt8] {
        var ends: [Int32] = [-1, -1]
        // Other programs that are started meanwhile get neither end: `spawn` closes what is not theirs.
        guard pipe(&ends) == 0 else { throw failure("there are no descriptors left") }
        defer { for descriptor in ends where descriptor >= 0 { close(descriptor) } }
        // What plugins say on standard error may name accounts, so it is not repeated either.
        let null = open("/dev/null", O_WRONLY | O_CLOEXEC)
        guard null >= 0 else { throw failure("there are no descriptors left") }
        defer { close(null) }
        let child: Int32
        do throws(SpawnError) {
            child = try spawn(
                path, arguments, environment: variables.map { Array("\($0.key)=\($0.value)".utf8) }, output: ends[1],
                errors: null)
        } catch {
            throw failure("it can't be run: \(String(cString: strerror(error.code)))")
        }
        close(ends[1])
        ends[1] = -1
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        var status: Int32 = 0
        var problem: String?
        while true {
            guard ContinuousClock.now < deadline else {
                problem = "it takes too long"
                break
            }
            var waited = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
            guard poll(&waited, 1, 100) > 0 else { continue }
            let count = read(ends[0], &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += buffer.prefix(count)
            guard bytes.count <= Self.maximumOutput else {
                problem = "it prints too much"
                break
            }
        }
        // It may have closed its output and go on all the same.
        while problem == nil, waitpid(child, &status, WNOHANG) == 0 {
            if ContinuousClock.now >= deadline { problem = "it takes too long" }
            usleep(2000)
        }
        kill(-child, SIGKILL)
        if let problem {
            while waitpid(child, &status, 0) < 0, errno == EINTR {}
            throw failure(problem)
        }
        guard status == 0 else {
            let code = status & 0x7f == 0 ? "status \((status >> 8) & 0xff)" : "signal \(status & 0x7f)"
            throw failure("it ends with \(code): run it by hand to see why")
        }
        return bytes
    }

    func parse(_ bytes: [UInt8]) throws(KubernetesError) -> Credential {
        guard let answer = try? JSONValue(parsing: bytes), answer["kind"]?.string == "ExecCredential",
            answer["apiVersion"]?.string == apiVersion, let status = answer["status"]
        else { throw failure("what it prints is no ExecCredential of \(apiVersion)") }
        let token = status["token"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        let certificate = status["clientCertificateData"]?.string.map { Array($0.utf8) }
        let key = status["clientKeyData"]?.string.map { Array($0.utf8) }
        guard (certificate == nil) == (key == nil), token != nil || certificate != nil else {
            throw failure("it gives neither a token nor a certificate with its key")
        }
        var expiration: Int64?
        if let text = status["expirationTimestamp"]?.string {
            guard let time = APITime(text) else { throw failure("its expirationTimestamp is no time") }
            expiration = time.nanoseconds
        }
        return Credential(token: token, certificate: certificate, key: key, expiration: expiration)
    }
}
