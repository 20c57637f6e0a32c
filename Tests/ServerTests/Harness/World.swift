import Foundation
import TestSupport
import Testing

/// A running server with a plain listener beside the one with TLS. When it ends, its whole log is searched for secrets.
struct World: Sendable {
    let server: RunningServer
    let client: Client

    /// `--data`
    var directory: String { server.directory }
    var store: StoreTree { StoreTree(directory: directory + "/store") }
    /// What the server's open files are.
    var descriptors: [String] {
        let directory = "/proc/\(server.process.pid)/fd"
        let numbers = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return numbers.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\($0)") }
    }

    /// Processor time that the server took so far: what its work costs, however busy the machine is.
    var processorTime: Duration {
        get throws {
            let text = try String(contentsOfFile: "/proc/\(server.process.pid)/stat", encoding: .utf8)
            // proc(5): in hundredths of a second, 14 and 15 of the fields, of which the second is a name in parentheses.
            let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
            try #require(fields.count > 13)
            let ticks = try #require(Int(fields[12])) + #require(Int(fields[13]))
            return .milliseconds(10 * ticks)
        }
    }

    /// Waits until the server has no more files open than before.
    func waitForDescriptors(_ before: [String]) async throws {
        do {
            try await waitUntil("the descriptors to go") { descriptors.count <= before.count }
        } catch {
            Issue.record("open now: \(descriptors.sorted()), before: \(before.sorted())")
        }
    }

    /// Starts a server on a directory, new or used before.
    init(
        data directory: String, arguments: [String] = [], environment: [String: String] = [:], descriptors: Int? = nil
    ) async throws {
        server = try await RunningServer(
            data: directory, arguments: ["--plain-listen", "127.0.0.1:0"] + arguments, environment: environment,
            descriptors: descriptors)
        let addresses = try String(contentsOfFile: directory + "/address", encoding: .utf8)
        let plain = addresses.split(whereSeparator: \.isNewline).first { $0.hasPrefix("http://") }
        let port = try #require(plain?.split(separator: ":").last.flatMap { Int($0) })
        client = Client(port: port, passwords: try Self.passwords(in: directory))
    }

    /// Gives the body a server in a directory of its own, ends it by SIGTERM, and looks at what it logged.
    static func with<Value>(
        _ arguments: [String] = [], environment: [String: String] = [:], _ body: (World) async throws -> Value
    ) async throws -> Value {
        try await withTemporaryDirectory { directory in
            try await with(data: directory + "/data", arguments, environment: environment, body)
        }
    }

    /// As above, in a given directory.
    static func with<Value>(
        data directory: String, _ arguments: [String] = [], environment: [String: String] = [:],
        descriptors: Int? = nil, _ body: (World) async throws -> Value
    ) async throws -> Value {
        let world = try await World(
            data: directory, arguments: arguments, environment: environment, descriptors: descriptors)
        do {
            let value = try await body(world)
            let status = try await world.server.stop()
            #expect(status == 0, "the server ends as it should")
            try world.expectNoSecrets()
            return value
        } catch {
            try? await world.server.kill()
            print("the server's log ends:\n\(world.log.suffix(30_000))")
            throw error
        }
    }

    /// All that the server wrote, its earlier runs included.
    var log: String { (try? String(contentsOfFile: server.log, encoding: .utf8)) ?? "" }

    /// Passwords, what is sent of them, their hashes, private keys, and keys that sign URLs and tokens.
    func expectNoSecrets() throws {
        let log = log
        #expect(!log.isEmpty, "something is logged")
        for secret in try secrets() { #expect(!log.contains(secret), "the log holds a secret") }
    }

    func secrets() throws -> [String] {
        var secrets = client.passwords.flatMap { user, password in
            [password, Data("\(user):\(password)".utf8).base64EncodedString()]
        }
        let users = try String(contentsOfFile: directory + "/users.htpasswd", encoding: .utf8)
        secrets += users.split(separator: "\n").compactMap { $0.split(separator: ":").last.map(String.init) }
        for use in ["url", "token"] {
            let keys = try? String(contentsOfFile: directory + "/secrets/\(use)-signing.keys", encoding: .utf8)
            secrets += (keys ?? "").split(separator: "\n").filter { !$0.hasPrefix("#") }
                .flatMap { $0.split(separator: " ") }.map(String.init)
        }
        return secrets + ["PRIVATE KEY", "$2b$", "$2y$"]
    }

    /// Adds users to the data directory of a server that does not run.
    /// - Parameter users: names, and what the policy file has below them.
    static func add(_ users: [String: String], to data: String) async throws {
        var policy = try String(contentsOfFile: data + "/policy.yaml", encoding: .utf8)
        for (user, grants) in users {
            let password = "a password of \(user)"
            let added = try await run("cistern", ["user", "add", "--data", data, user], input: password + "\n")
            try #require(added.status == 0, "\(added.errors)")
            try Data(password.utf8).write(to: URL(fileURLWithPath: "\(data)/secrets/\(user).password"))
            policy += "  \(user):\n" + grants.split(separator: "\n").map { "    \($0)\n" }.joined()
        }
        try Data(policy.utf8).write(to: URL(fileURLWithPath: data + "/policy.yaml"))
    }

    private static func passwords(in directory: String) throws -> [String: String] {
        var passwords: [String: String] = [:]
        for file in try FileManager.default.contentsOfDirectory(atPath: directory + "/secrets")
        where file.hasSuffix(".password") {
            let text = try String(contentsOfFile: "\(directory)/secrets/\(file)", encoding: .utf8)
            passwords[file.replacing(".password", with: "")] = text.trimmingCharacters(in: .newlines)
        }
        return passwords
    }
}

/// One server for all tests of a suite: `@Suite("…", .sharedServer)`, in them `let world = try SharedServer.world()`.
struct SharedServer: SuiteTrait, TestScoping {
    @TaskLocal private static var shared: World?

    let arguments: [String]
    /// Users beside the first two: their grants, as the policy file has them below a user's name.
    var users: [String: String] = [:]
    let prepare: @Sendable (World) async throws -> Void

    static func world() throws -> World { try #require(shared) }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        try await SideBySide(isLong: false).provideScope(for: test, testCase: testCase) {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                if !users.isEmpty {
                    try await World.with(data: data) { _ in }
                    try await World.add(users, to: data)
                }
                try await World.with(data: data, arguments) { world in
                    try await prepare(world)
                    try await Self.$shared.withValue(world) { try await function() }
                }
            }
        }
    }
}

extension Trait where Self == SharedServer {
    /// A server without anything in it.
    static var emptyServer: Self { SharedServer(arguments: []) { _ in } }

    /// A server with version 1 of the stack `tiny`, promoted, which droplets get that name no stack, and version 2.
    static var sharedServer: Self {
        SharedServer(arguments: ["--stack", "tiny"]) { world in
            try await world.server.importTinyRootfs(version: "1")
            try await world.server.importTinyRootfs(version: "2", promote: false)
        }
    }
}
