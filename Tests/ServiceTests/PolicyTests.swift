import Foundation
import JSON
import Testing

@testable import Service

@Suite("The policy")
struct PolicyTests {
    @Test(
        "Roles are read from the forms that people write",
        arguments: [
            "users:\n  alice:\n    roles: [pull, push]\n",
            "# comment\nusers:   # here\n    alice:\n        roles:\n            - pull\n            - push # both\n",
            "users:\n  \"alice\":\n    roles:\n    - 'pull'\n    - \"push\"\n",
            "users:\r\n  alice:\r\n    roles: [pull, push]\r\n",
            #"{"users":{"alice":{"roles":["pull","push"]}}}"#,
        ])
    func forms(text: String) throws {
        let policy = try Policy(parsing: text)
        #expect(policy.users == ["alice": [.pull, .push]])
        #expect(policy.roles(of: "bob") == [])
        #expect(try Policy(parsing: policy.text) == policy)
    }

    @Test("An empty file has no users", arguments: ["", "# nothing\n", "users:\n"])
    func empty(text: String) throws {
        #expect(try Policy(parsing: text).users.isEmpty)
    }

    @Test(
        "What is not understood is an error",
        arguments: [
            "user:\n  a:\n    roles: [pull]\n", "users:\n  a:\n    role: [pull]\n",
            "users:\n  a:\n    roles: [admin]\n",
            "users:\n  a:\n    roles: pull\n", "users:\n  a: [pull]\n", "users: [a]\n", "- a\n",
            "users:\n  a:\n    roles: [pull]\n  a:\n    roles: [push]\n", "users:\n\ta:\n",
            "users:\n  a:\n    roles: [pull\n",
            "users:\n  a: &x\n    roles: [pull]\n", "users: {a: {roles: [pull]}}\n", "users:\n    a:\n  b:\n",
            "  users:\n", "users\n", "{\"users\":", "---\nusers:\n",
        ])
    func errors(text: String) {
        #expect(throws: AuthenticationError.self) { try Policy(parsing: text) }
    }

    @Test("An error names its line")
    func line() {
        #expect(throws: AuthenticationError.policy(line: 3, reason: "'a' appears twice")) {
            try Policy(parsing: "users:\n  a:\n  a:\n")
        }
    }

    @Test("Operators may do everything, pushers may pull, and nobody else what is not theirs")
    func roles() {
        let allowed = Dictionary(
            uniqueKeysWithValues: Role.allCases.map { role in
                (role, Set(Role.allCases.filter { Principal(name: "x", roles: [role]).may($0) }))
            })
        #expect(allowed == [.pull: [.pull], .push: [.push, .pull], .stage: [.stage], .operator: Set(Role.allCases)])
        #expect(!Principal(name: "x", roles: []).may(.pull))
    }

    @Test("A first start makes an operator and a pull user; a second one changes nothing", .timeLimit(.minutes(1)))
    func firstStart() async throws {
        let directory = try TemporaryDirectory()
        let paths = FirstUsers.Paths(data: directory.path)
        let made = try FirstUsers.prepare(paths, cost: 4)
        #expect(made == [paths.password(of: "operator"), paths.password(of: "pull")])
        let users = try Htpasswd(path: paths.users)
        let authenticator = Authenticator(users: users, policy: try Policy(path: paths.policy))
        for (name, role) in [("operator", Role.operator), ("pull", .pull)] {
            let password = try String(contentsOfFile: paths.password(of: name), encoding: .utf8)
                .trimmingCharacters(in: .newlines)
            #expect(password.count == 32)
            #expect(try await authenticator.authenticate(basic(name, password))?.roles == [role])
        }
        for path in made + [paths.users, paths.policy] {
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
        }
        let before = try String(contentsOfFile: made[0], encoding: .utf8)
        #expect(try FirstUsers.prepare(paths, cost: 4) == [])
        #expect(try String(contentsOfFile: made[0], encoding: .utf8) == before)
    }

    @Test("A first start that was interrupted is done again")
    func interrupted() throws {
        let directory = try TemporaryDirectory()
        let paths = FirstUsers.Paths(data: directory.path)
        _ = try FirstUsers.prepare(paths, cost: 4)
        try FileManager.default.removeItem(atPath: paths.users)
        #expect(try FirstUsers.prepare(paths, cost: 4).count == 2)
        let users = try Htpasswd(path: paths.users)
        let password = try String(contentsOfFile: paths.password(of: "pull"), encoding: .utf8).trimmingCharacters(
            in: .newlines)
        #expect(users.hash(of: "pull")?.matches(password) == true)
    }
}
