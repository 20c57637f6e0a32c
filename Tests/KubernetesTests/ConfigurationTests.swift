import Foundation
import JSON
import Synchronization
import TestSupport
import Testing

@testable import Kubernetes

@Suite("How an API server is found")
struct ConfigurationTests {
    private static let first = """
        apiVersion: v1
        kind: Config
        current-context: one
        clusters:
        - name: c
          cluster: {server: "https://one.example:6443/k8s", certificate-authority: ca.pem, tls-server-name: api}
        contexts:
        - name: one
          context: {cluster: c, user: u, namespace: apps}
        users:
        - name: u
          user: {token: 12345}
        """
    private static let second = """
        current-context: two
        clusters:
        - name: c
          cluster: {server: "https://wrong.example"}
        - name: d
          cluster: {server: "https://[fd00::1]:443", insecure-skip-tls-verify: true, proxy-url: "http://u:p@proxy:3128"}
        contexts:
        - name: two
          context: {cluster: d, user: v}
        users:
        - name: u
          user: {token: other}
        - name: v
          user: {tokenFile: keys/token, as: robot, as-groups: [g, h]}
        """

    private func write(_ text: String, _ path: String) throws {
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    @Test("several files are merged: the first to name something wins, and paths begin at their own file")
    func merging() async throws {
        try await withTemporaryDirectory { directory in
            try write(Self.first, directory + "/a/config")
            try write(Self.second, directory + "/b/config")
            let files = "\(directory)/missing:\(directory)/a/config:\(directory)/b/config"
            let config = try Kubeconfig(environment: ["KUBECONFIG": files])
            #expect(config.currentContext == "one" && config.contextNames == ["one", "two"])
            let one = try config.connection()
            #expect(one.endpoint == Endpoint("https://one.example:6443/k8s"))
            #expect(one.namespace == "apps" && one.tlsServerName == "api")
            #expect(one.authority == .file("\(directory)/a/ca.pem"))
            guard case .token("12345") = one.login else {
                Issue.record("the first file's user counts")
                return
            }
            let two = try config.connection(context: "two")
            #expect(two.endpoint.authority == "[fd00::1]:443" && two.namespace == "default" && two.skipsVerification)
            #expect(two.proxy?.host == "proxy" && two.proxy?.port == 3128)
            #expect(two.impersonation.map { $0.value } == ["robot", "g", "h"])
            guard case .tokenFile(directory + "/b/keys/token") = two.login else {
                Issue.record("a token's file begins at the kubeconfig's directory")
                return
            }
        }
    }

    @Test(
        "what can't be used is refused, and the text does not repeat a secret",
        arguments: [
            "users: [{name: u, user: {token: hunter2}}",
            "current-context: x\nusers: [{name: u, user: {token: hunter2}}]",
            "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'ftp://hunter2'}}]",
            "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://a', certificate-authority-data: '*hunter2*'}}]",
            "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://a'}}]\nusers: [{name: u, user: {client-key-data: aHVudGVyMg==}}]",
            "a: &a [b,b,b,b,b,b,b,b]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]",
        ])
    func unusable(_ text: String) throws {
        let error = #expect(throws: KubernetesError.self) {
            try Kubeconfig(parsing: text, directory: "/nowhere").connection()
        }
        #expect(error.map { !"\($0)".contains("hunter2") } == true)
    }

    @Test("a pod's service account is found, at an IPv6 address as well")
    func inCluster() async throws {
        try await withTemporaryDirectory { directory in
            let environment = ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"]
            #expect(throws: KubernetesError.self) {
                try ClusterConnection.inCluster(environment: environment, directory: directory)
            }
            try write("t", directory + "/token")
            try write("apps\n", directory + "/namespace")
            let connection = try ClusterConnection.inCluster(environment: environment, directory: directory)
            #expect(connection.endpoint.authority == "[fd00::1]:443" && connection.namespace == "apps")
            #expect(connection.authority == .file(directory + "/ca.crt"))
            #expect(throws: KubernetesError.self) {
                try ClusterConnection.inCluster(environment: [:], directory: directory)
            }
        }
    }

    @Test("a token's file is read again after a minute and after a refusal; a broken one leaves the old token in use")
    func tokenFile() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory + "/token"
            try write("one\n", file)
            let clock = Atomic<Int64>(0)
            try await ScriptedServer.with { request, number, connection in
                number == 4 ? connection.status(401, "Unauthorized") : connection.json(pod("a", version: 1))
            } _: { (server) async throws in
                var target = try ClusterConnection(url: "http://\(server.address)")
                target.login = .tokenFile(file)
                try await withClient(target, now: { clock.load(ordering: .relaxed) }) { (client) async throws in
                    func get() async throws { _ = try await client.get(.pods, namespace: "apps", name: "a") }
                    try await get()
                    try write("two", file)
                    try await get()
                    clock.add(61_000_000_000, ordering: .relaxed)
                    try await get()
                    try write("", file)
                    clock.add(61_000_000_000, ordering: .relaxed)
                    try await get()
                    // Refused with the old token: the file is read at once.
                    try write("three", file)
                    try await get()
                }
                #expect(
                    server.requests.map { $0.header("Authorization") ?? "" } == [
                        "Bearer one", "Bearer one", "Bearer two", "Bearer two", "Bearer two", "Bearer three",
                    ])
            }
        }
    }

    private func plugin(_ script: String, _ directory: String, more: String = "") throws -> ClusterConnection {
        try write("#!/bin/sh\n" + script, directory + "/plugin")
        chmod(directory + "/plugin", 0o755)
        let text = """
            current-context: x
            contexts: [{name: x, context: {cluster: c, user: u}}]
            clusters:
            - name: c
              cluster:
                server: http://SERVER
                extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: 7}}]
            users:
            - name: u
              user:
                exec:
                  apiVersion: client.authentication.k8s.io/v1
                  command: ./plugin
                  args: [get-token]
                  env: [{name: WHO, value: me}]
                  provideClusterInfo: true
                  interactiveMode: Never
                  \(more)
            """
        return try Kubeconfig(parsing: text, directory: directory).connection()
    }

    private func credential(_ members: String) -> String {
        #"echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{\#(members)}}'"#
    }

    @Test("a plugin is told of the cluster and its credential is kept until it ends")
    func execPlugin() async throws {
        try await withTemporaryDirectory { directory in
            let connection = try plugin(
                """
                echo "$1 $WHO $KUBERNETES_EXEC_INFO" >> \(directory)/calls
                \(credential(#""token":"t","expirationTimestamp":"1970-01-01T00:10:00Z""#))
                """, directory)
            let clock = Atomic<Int64>(0)
            let credentials = Credentials(
                connection, environment: ["PATH": "/usr/bin:/bin"], logger: silent,
                now: { clock.load(ordering: .relaxed) })
            for time in [0, 500, 595] {
                clock.store(Int64(time) * 1_000_000_000, ordering: .relaxed)
                #expect(try await credentials.value().authorization == "Bearer t")
            }
            credentials.stop()
            let calls = try String(contentsOfFile: directory + "/calls", encoding: .utf8).split(separator: "\n")
            #expect(calls.count == 2)
            let words = calls[0].split(separator: " ", maxSplits: 2)
            #expect(words.prefix(2) == ["get-token", "me"])
            let information = try JSONValue(parsing: String(words[2]))
            #expect(information["spec"]?["cluster"]?["config"] == ["audience": 7])
            #expect(information["spec"]?["interactive"] == false)
        }
    }

    @Test(
        "a plugin that fails is reported without what it printed",
        arguments: ["echo hunter2; exit 3", "echo hunter2", #"echo '{"kind":"ExecCredential","hunter2":1}'"#])
    func failingPlugin(_ script: String) async throws {
        try await withTemporaryDirectory { directory in
            let connection = try plugin(script, directory)
            let credentials = Credentials(connection, environment: [:], logger: silent, now: { 0 })
            let error = try await kubernetesError { _ = try await credentials.value() }
            credentials.stop()
            #expect(error.map { !"\($0)".contains("hunter2") } == true)
        }
    }

    @Test("a plugin that does not end is killed, with what it started")
    func hangingPlugin() async throws {
        try await withTemporaryDirectory { directory in
            guard
                case .exec(let hanging) = try plugin("sleep 600 & echo $! > \(directory)/child; wait", directory).login
            else {
                Issue.record("no plugin")
                return
            }
            #expect(throws: KubernetesError.self) {
                try hanging.run(within: .milliseconds(500), environment: ["PATH": "/usr/bin:/bin"])
            }
            let child = try #require(
                Int32(try String(contentsOfFile: directory + "/child", encoding: .utf8).dropLast()))
            try await waitUntil("the plugin's child is gone") {
                let status = try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)
                return status.map { $0.contains(") Z ") } ?? true
            }
        }
    }
}
