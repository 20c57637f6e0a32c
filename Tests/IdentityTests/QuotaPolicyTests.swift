import Foundation
import JSON
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Identity

@Suite("Quotas in the policy")
struct QuotaPolicyTests {
    @Test(
        "They are read from the forms that people write, and written as they were",
        arguments: [
            "quotas:\n  - repositories: \"team-a/**\"\n    bytes: 100GiB\n  - repositories: base/*\n    bytes: 1000\n",
            "quotas:\n- bytes: 107374182400   # as a number\n  repositories: 'team-a/**'\n- {repositories: base/*, bytes: 1000 B}\n",
            "quotas: [{repositories: \"team-a/**\", bytes: 102400 MiB}, {repositories: \"base/*\", bytes: 1000}]\n",
            #"{"quotas":[{"repositories":"team-a/**","bytes":107374182400},{"repositories":"base/*","bytes":"1000"}]}"#,
        ])
    func forms(text: String) throws {
        let policy = try Policy(parsing: text)
        #expect(policy.quotas.map(\.repositories.description) == ["team-a/**", "base/*"])
        #expect(policy.quotas.map(\.bytes) == [100 << 30, 1000])
        #expect(try Policy(parsing: policy.text) == policy)
        #expect(policy.text.contains("bytes: 100GiB\n"))
    }

    @Test(
        "What can't be used is an error that names its line",
        arguments: [
            ("users:\nquotas: 5\n", 2), ("quotas:\n  - base/*\n", 2), ("quotas:\n  - repositories: base/*\n", 2),
            ("quotas:\n  - repositories: base/*\n    bytes: 1000\n    files: 5\n", 2),
            ("quotas:\n  - repositories: base/*\n    bytes: much\n", 3),
            ("quotas:\n  - repositories: base/*\n    bytes: -1\n", 3),
            ("quotas:\n  - repositories: base/*\n    bytes: 1.5GiB\n", 3),
            ("quotas:\n  - repositories: base/*\n    bytes: 2000PiB\n", 3),
            ("quotas:\n  - repositories: Base\n    bytes: 1000\n", 2),
            ("quotas:\n  - repositories: base/*\n    bytes: 1\n  - repositories: base/*\n    bytes: 2\n", 4),
            ("quotas:\n  - repositories: base/*\n      bytes: 1\n", 3),
            ("quotas:\n  - repositories: base/*\n   bytes: 1\n", 3),
        ])
    func faults(text: String, line: Int) throws {
        let error = #expect(throws: AuthenticationError.self) { try Policy(parsing: text) }
        guard case .policy(line: line, _)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test(
        "Sizes are whole numbers of bytes or of units of 1024",
        arguments: [
            ("0", 0), ("1", 1), ("7KiB", 7 << 10), ("7 MiB", 7 << 20), ("1024PiB", 1 << 60), ("5B", 5), ("", nil),
            ("GiB", nil), ("1GB", nil), ("1 gib", nil), ("1025PiB", nil), ("99999999999999999999", nil), ("1 2", nil),
        ] as [(String, Int64?)])
    func sizes(text: String, bytes: Int64?) {
        #expect(ByteSize(parsing: text)?.bytes == bytes)
        if let bytes { #expect(ByteSize(parsing: ByteSize(bytes).description)?.bytes == bytes) }
    }

    @Test("Whoever wants the policy has it at the start and after each change, and never a broken one")
    func reloaded() throws {
        let directory = try TemporaryDirectory()
        let (users, path) = (directory.path + "/users", directory.path + "/policy.yaml")
        func write(_ text: String, _ path: String) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        }
        try Htpasswd.update(users) { users throws(AuthenticationError) in
            try users.set("a", try BcryptHash(password: "x", cost: 4))
        }
        try write("quotas: [{repositories: a, bytes: 1}]\n", path)
        let seen = Mutex<[[Int64]]>([])
        let reloader = CredentialReloader(
            users: users, policy: path, authenticator: Authenticator(users: Htpasswd(), policy: Policy()),
            onPolicy: { policy in seen.withLock { $0.append(policy.quotas.map(\.bytes)) } },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        var memory = reloader.memory
        for text in [nil, "quotas: [{repositories: a, bytes: 2}]\n", "quotas: 5\n", "users:\n"] {
            if let text { try write(text, path) }
            for _ in 0..<3 { reloader.look(&memory) }
        }
        #expect(seen.withLock { $0 } == [[1], [2], []])
    }
}
