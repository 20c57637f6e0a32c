import Foundation
import Logging
import ServiceLifecycle
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity
@testable import Logs

@Suite("Files that are replaced while the server runs", .timeLimit(.minutes(5)))
struct ReloadTests {
    /// A data directory, what was read from it, and a reloader for it.
    private struct Setup {
        let directory: TemporaryDirectory
        let authenticator: Authenticator
        let tls: ServerTLS
        let reloader: CredentialReloader
        let log: LogLines
        let sink: LogSink
        let renewals = Count()

        var users: String { directory.path + "/users" }
        var policy: String { directory.path + "/policy.yaml" }
        var certificate: String { directory.path + "/server.pem" }
        var key: String { directory.path + "/server-key.pem" }

        init(interval: Duration = .seconds(1)) throws {
            directory = try TemporaryDirectory()
            let base = directory.path
            try ReloadTests.writeUsers(["alice": "one"], base + "/users")
            try ReloadTests.write("users: {alice: {roles: [pull]}}", base + "/policy.yaml")
            try CertificateAuthority(directory: base).prepare()
            authenticator = Authenticator(
                users: try Htpasswd(path: base + "/users"), policy: try Policy(path: base + "/policy.yaml"))
            tls = try ServerTLS(TLSFiles(certificate: base + "/server.pem", key: base + "/server-key.pem"))
            log = LogLines()
            let sink = LogSink(maximum: 1 << 20, write: log.add)
            self.sink = sink
            let renewals = renewals
            reloader = CredentialReloader(
                users: base + "/users", policy: base + "/policy.yaml", authenticator: authenticator,
                others: tls.reloaded,
                renew: { renewals.add(1) }, interval: interval,
                logger: Logger(label: "test") { JSONLogHandler(label: $0, level: .debug, sink: sink) })
        }

        func lines() -> [String] {
            sink.flush()
            return log.lines
        }

        func role(_ user: String, _ password: String) async throws -> Set<Role>? {
            let header = basic(user, password)
            if let known = authenticator.known(header) { return known.roles }
            return try await authenticator.authenticate(header, from: .unknown)?.roles
        }
    }

    private static func write(_ text: String, _ path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    }

    private static func writeUsers(_ passwords: [String: String], _ path: String) throws {
        var users = Htpasswd()
        for (name, password) in passwords { try users.set(name, try BcryptHash(password: password, cost: 4)) }
        try write(users.text, path)
    }

    @Test("Users and policy are taken together; what was known and has not changed stays known")
    func users() async throws {
        let setup = try Setup()
        var memory = setup.reloader.memory
        for _ in 0..<5 { setup.reloader.look(&memory) }
        #expect(try await setup.role("alice", "one") == [.pull])
        #expect(setup.lines() == [])

        try Self.writeUsers(["alice": "two", "bob": "three"], setup.users)
        try Self.write("users: {alice: {roles: [push]}, bob: {roles: [stage]}}", setup.policy)
        setup.reloader.look(&memory)
        #expect(try await setup.role("alice", "one") == [.pull])
        setup.reloader.look(&memory)
        #expect(try await setup.role("alice", "one") == nil)
        #expect(try await setup.role("alice", "two") == [.push])
        #expect(try await setup.role("bob", "three") == [.stage])
        #expect(setup.lines().count == 1)

        // No bcrypt is owed for a policy that changes.
        try Self.write("users: {alice: {roles: [operator]}}", setup.policy)
        for _ in 0..<2 { setup.reloader.look(&memory) }
        #expect(setup.authenticator.known(basic("alice", "two"))?.roles == [.operator])
        #expect(setup.authenticator.known(basic("bob", "three"))?.roles == [])
    }

    @Test("Files that others can read or change are warned of when they are taken, and taken all the same")
    func open() async throws {
        let setup = try Setup()
        var memory = setup.reloader.memory
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: setup.users)
        for _ in 0..<2 { setup.reloader.look(&memory) }
        #expect(setup.lines() == [])
        for (path, mode) in [(setup.users, 0o644), (setup.policy, 0o666)] {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        }
        for _ in 0..<2 { setup.reloader.look(&memory) }
        let warnings = setup.lines().filter { $0.contains(#""level":"warning""#) }
        #expect(warnings.count == 2)
        #expect(warnings.first?.contains("can read the file \(setup.users)") == true)
        #expect(warnings.last?.contains("can change the file \(setup.policy)") == true)
        #expect(try await setup.role("alice", "one") == [.pull])
    }

    @Test(
        "A file that can't be used is reported once with its path, the old one stays, and a repaired one is taken",
        arguments: ["users", "policy.yaml"], ["broken", "missing", "empty"])
    func broken(name: String, fault: String) async throws {
        // A policy that names nobody is one.
        if name == "policy.yaml", fault == "empty" { return }
        let setup = try Setup()
        var memory = setup.reloader.memory
        for _ in 0..<2 { setup.reloader.look(&memory) }
        let path = setup.directory.path + "/" + name
        let other = setup.directory.path + "/" + (name == "users" ? "policy.yaml" : "users")
        if fault != "missing" {
            try Self.write(fault == "empty" ? "# nobody\n\n" : "secret:words", path)
        } else {
            try FileManager.default.removeItem(atPath: path)
        }
        // Even if the other one is good: they belong together.
        try Self.write(name == "users" ? "users: {alice: {roles: [operator]}}" : "", other)
        for _ in 0..<(3 * CredentialReloader.retryLooks) { setup.reloader.look(&memory) }
        #expect(try await setup.role("alice", "one") == [.pull])
        let lines = setup.lines()
        #expect(lines.count == 1)
        #expect(lines.first?.contains("\"level\":\"error\"") == true)
        #expect(lines.first?.contains(path) == true)
        #expect(lines.first?.contains("words") == false)

        try Self.writeUsers(["alice": "one"], setup.users)
        try Self.write("users: {alice: {roles: [push]}}", setup.policy)
        for _ in 0..<2 { setup.reloader.look(&memory) }
        #expect(try await setup.role("alice", "one") == [.push])
        #expect(setup.lines().count == 2)
    }

    @Test("A file is not taken while it is being written")
    func settling() async throws {
        let setup = try Setup()
        var memory = setup.reloader.memory
        for number in 0..<10 {
            try Self.write("users: {alice: {roles: [push]}} # \(number)", setup.policy)
            setup.reloader.look(&memory)
        }
        #expect(try await setup.role("alice", "one") == [.pull])
        setup.reloader.look(&memory)
        #expect(try await setup.role("alice", "one") == [.push])
    }

    @Test("The swap of a directory by a link, as Kubernetes does it, is seen")
    func links() async throws {
        let setup = try Setup()
        let base = setup.directory.path
        for (version, role) in [("..1", "push"), ("..2", "stage")] {
            try FileManager.default.createDirectory(atPath: "\(base)/\(version)", withIntermediateDirectories: true)
            try Self.write("users: {alice: {roles: [\(role)]}}", "\(base)/\(version)/policy.yaml")
        }
        func point(to version: String) throws {
            try FileManager.default.createSymbolicLink(
                atPath: "\(base)/..data_tmp", withDestinationPath: version)
            guard rename("\(base)/..data_tmp", "\(base)/..data") == 0 else { throw POSIXError(.EIO) }
        }
        try point(to: "..1")
        try FileManager.default.removeItem(atPath: setup.policy)
        try FileManager.default.createSymbolicLink(atPath: setup.policy, withDestinationPath: "..data/policy.yaml")
        var memory = setup.reloader.memory
        for _ in 0..<2 { setup.reloader.look(&memory) }
        #expect(try await setup.role("alice", "one") == [.push])
        try point(to: "..2")
        for _ in 0..<2 { setup.reloader.look(&memory) }
        #expect(try await setup.role("alice", "one") == [.stage])
    }

    private static var routes: Routes {
        var routes = Routes()
        routes.get("/ok", access: .open) { _ in .text("ok") }
        return routes
    }

    @Test("New connections get a new certificate; mismatched pairs and garbage are refused; open connections stay")
    func certificates() async throws {
        let setup = try Setup()
        var memory = setup.reloader.memory
        for _ in 0..<2 { setup.reloader.look(&memory) }
        let other = try TemporaryDirectory()
        try CertificateAuthority(directory: other.path).prepare()
        // As it is before anything is replaced.
        let first = try TemporaryDirectory()
        for name in ["ca.pem", "server.pem", "server-key.pem"] {
            try FileManager.default.copyItem(atPath: "\(setup.directory.path)/\(name)", toPath: "\(first.path)/\(name)")
        }
        let (reloader, start) = (setup.reloader, memory)
        try await TestServer.run(Self.routes, tls: setup.tls) { server async throws in
            var memory = start
            /// Whose certificate new connections get.
            func served() async -> String {
                for (name, authority) in [("first", first.path), ("other", other.path)] {
                    let status = try? await RawClient.with(port: server.secure, authority: authority + "/ca.pem") {
                        try await $0.request("GET", "/ok").status
                    }
                    if status == 200 { return name }
                }
                return "none"
            }
            func put(_ name: String, from: TemporaryDirectory) throws {
                try Self.write(
                    try String(contentsOfFile: "\(from.path)/\(name)", encoding: .utf8),
                    "\(setup.directory.path)/\(name)")
            }
            func look() { for _ in 0..<2 { reloader.look(&memory) } }

            let authority = first.path + "/ca.pem"
            try await RawClient.with(port: server.secure, authority: authority) { open async throws in
                #expect(try await open.request("GET", "/ok").status == 200)

                try put("server.pem", from: other)
                look()
                #expect(await served() == "first")
                #expect(setup.lines().count == 1)
                #expect(setup.lines().last?.contains(setup.key) == true)

                try put("server-key.pem", from: other)
                look()
                #expect(await served() == "other")

                for garbage in ["", "-----BEGIN", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"]
                {
                    try Self.write(garbage, setup.key)
                    look()
                    #expect(await served() == "other")
                }
                #expect(!setup.log.all.contains("c2VjcmV0"))

                for name in ["server-key.pem", "server.pem"] { try put(name, from: first) }
                look()
                #expect(await served() == "first")
                #expect(try await open.request("GET", "/ok").status == 200)
            }
        }
    }

    @Test("A pair that is written one after the other is taken without a complaint in between")
    func pair() throws {
        let setup = try Setup()
        var memory = setup.reloader.memory
        for _ in 0..<2 { setup.reloader.look(&memory) }
        let other = try TemporaryDirectory()
        try CertificateAuthority(directory: other.path).prepare()
        for name in ["server.pem", "server-key.pem"] {
            let text = try String(contentsOfFile: "\(other.path)/\(name)", encoding: .utf8)
            try Self.write(text, "\(setup.directory.path)/\(name)")
            setup.reloader.look(&memory)
        }
        setup.reloader.look(&memory)
        #expect(setup.lines().count == 1)
        #expect(setup.log.all.contains("reloaded"))
    }

    @Test("A server's own certificate is looked after at the start and each hour")
    func renewal() throws {
        let setup = try Setup()
        var memory = setup.reloader.memory
        for (looks, renewals) in [(1, 1), (3599, 1), (1, 2), (3600, 3)] {
            for _ in 0..<looks { setup.reloader.look(&memory) }
            #expect(setup.renewals.value == renewals)
        }
    }

    @Test("As a service it sees changes by itself and ends when it is asked to")
    func service() async throws {
        let setup = try Setup(interval: .milliseconds(2))
        let group = ServiceGroup(
            configuration: .init(
                services: [setup.reloader], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            #expect(try await setup.role("alice", "one") == [.pull])
            try Self.write("users: {alice: {roles: [push]}}", setup.policy)
            let authenticator = setup.authenticator
            #expect(try await eventually { authenticator.known(basic("alice", "one"))?.roles == [.push] })
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }
}
