import Foundation
import JSON
import TestSupport
import Testing

@testable import Identity

@Suite("The policy")
struct PolicyTests {
    @Test(
        "Roles are read from the forms that people write",
        arguments: [
            "users:\n  alice:\n    roles: [pull, push]\n",
            "# comment\nusers:   # here\n    alice:\n        roles:\n            - pull\n            - push # both\n",
            "users:\n  \"alice\":\n    roles:\n    - 'pull'\n    - \"push\"\n",
            "users:\r\n  alice:\r\n    roles: [pull, push]\r\n",
            "users: {alice: {roles: [pull, push]}}\n", "users: { 'alice' : { \"roles\" : [ pull,push ] } } # both\n",
            "users:\n  alice: {roles: [pull, push]}\nanonymous:\n",
            #"{"users":{"alice":{"roles":["pull","push"]}}}"#, "---\nusers: {alice: {roles: [pull, push,]}}\n",
        ])
    func forms(text: String) throws {
        let policy = try Policy(parsing: text)
        #expect(policy.users == ["alice": Policy.Grants(roles: [.pull, .push])])
        #expect(policy.roles(of: "bob") == [])
        #expect(try Policy(parsing: policy.text) == policy)
    }

    @Test("A byte order mark at the beginning of the file is skipped, and of the users' file, too")
    func byteOrderMark() async throws {
        try await withTemporaryDirectory { directory in
            let (policy, users) = (directory + "/policy.yaml", directory + "/users.htpasswd")
            try Data("\u{feff}users: {alice: {roles: [pull]}}\n".utf8).write(to: URL(fileURLWithPath: policy))
            try Data("\u{feff}alice:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n".utf8)
                .write(to: URL(fileURLWithPath: users))
            #expect(try Policy(path: policy).users == ["alice": Policy.Grants(roles: [.pull])])
            #expect(try Htpasswd(path: users).users == ["alice"])
        }
    }

    @Test("An empty file has no users", arguments: ["", "# nothing\n", "users:\n", "users: ~\n", "null\n"])
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
            "users:\n  a: &x\n    roles: [pull]\n", "users: {a: {roles: [pull]}\n", "users:\n    a:\n  b:\n",
            "users: {a: {roles: [pull]}} x\n", "users: {a: {roles: [pull], roles: [push]}}\n", "users: {a}\n",
            "users: {'a: {roles: [pull]}}\n", "users: {\"a\\", "users: {,}\n",
            "users: \(String(repeating: "[", count: 100_000))\n", "users:\n  a:\n",
            "users\n", "{\"users\":", "---\nusers:\n---\nusers:\n",
            "users: !secret {a: {roles: [pull]}}\n", "users: {a: {roles: [!role pull]}}\n",
            "users: {a: &x {roles: [pull]}, b: *x}\n", "users: {? [a] : {roles: [pull]}}\n",
            "users: {\"a\": {roles: [pull]}, a: {roles: [push]}}\n",
            "users: {a: {roles: [pull], <<: {roles: [push]}}}\n",
            "users: {a: {roles: [cluster]}}\n", "users: {a: {roles: [pull], cluster: eu}}\n",
            "users: {a: {roles: [cluster], cluster: -eu}}\n", "users: {a: {repositories: {x: [cluster]}}}\n",
        ])
    func errors(text: String) {
        #expect(throws: AuthenticationError.self) { try Policy(parsing: text) }
    }

    @Test("An error names its line")
    func line() {
        for text in ["users:\n  a:\n  a:\n", "users:\n  \"1\": {roles: []}\n  1: {roles: []}\n"] {
            #expect(throws: AuthenticationError.self, "\(text)") { try Policy(parsing: text) }
        }
        #expect(throws: AuthenticationError.policy(line: 2, reason: "'a' appears twice")) {
            try Policy(parsing: "users:\n  a:\n  a:\n")
        }
        #expect(throws: AuthenticationError.policy(line: 3, reason: "'1' appears twice")) {
            try Policy(parsing: "users:\n  \"1\": {roles: []}\n  1: {roles: []}\n")
        }
    }

    @Test(
        "What repeats itself is refused before it grows", .timeLimit(.minutes(1)),
        arguments: [
            // Each level has the one before twice; written out it would have 2 to the power of 40 elements.
            "a0: &a0 [x]\n" + (1...40).map { "a\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1)]\n" }.joined(),
            // As a key it is hashed by the parser.
            "a0: &a0 [x]\n" + (1...40).map { "a\($0): &a\($0) [*a\($0 - 1),*a\($0 - 1)]\n" }.joined() + "? *a40\n: x\n",
        ])
    func bombs(text: String) {
        #expect(throws: AuthenticationError.self) { try Policy(parsing: text) }
    }

    @Test("Stars and ampersands in comments, quotes and patterns are no aliases")
    func noAliases() throws {
        let comments = (0..<40).map { "# *word\($0)* & more\n" }.joined()
        let policy = try Policy(
            parsing: comments + "users:\n  \"a *b\": {repositories: {\"**\": [pull], x/*: [push], y/**: [pull]}} # *c\n"
        )
        #expect(policy.users["a *b"]?.repositories.count == 3)
    }

    @Test("The role cluster has one cluster, which is written and read, and goes with the role")
    func cluster() throws {
        var policy = try Policy(parsing: "users:\n  agent:\n    roles: [cluster]\n    cluster: eu-1\n")
        let agent = policy.principal(of: "agent")
        #expect(agent.maySpeak(for: "eu-1") && !agent.maySpeak(for: "eu-2") && !agent.maySpeak(for: ""))
        #expect(!agent.may(.pull) && !agent.may(.operator))
        #expect(Principal(name: "x", roles: [.operator]).maySpeak(for: "eu-2"))
        #expect(!Principal(name: "x", roles: [.cluster]).maySpeak(for: ""))
        // KELVIN SIGN, which is canonically equal to K.
        let kelvin = Principal(name: "x", roles: [.cluster], cluster: "K")
        #expect(kelvin.maySpeak(for: "K") && !kelvin.maySpeak(for: "\u{212A}"))
        #expect(try Policy(parsing: policy.text) == policy)
        #expect(throws: AuthenticationError.clusterName("")) { try policy.set("agent", [.cluster]) }
        #expect(throws: AuthenticationError.clusterName("eu")) { try policy.set("agent", [.pull], cluster: "eu") }
        try policy.set("agent", [.pull, .cluster], cluster: "eu-2")
        #expect(try Policy(parsing: policy.text).principal(of: "agent").maySpeak(for: "eu-2"))
        try policy.set("agent", [.pull])
        #expect(policy.users["agent"] == Policy.Grants(roles: [.pull]))
    }

    @Test("A policy in JSON may escape any character, as JSON does")
    func surrogates() throws {
        let policy = try Policy(
            parsing: #"{"users": {"\ud83d\uDE00 \u00e9": {"roles": ["pull"]}, "\\ud83d\\ude00": {"roles": []}}}"#)
        #expect(policy.users == ["😀 \u{E9}": Policy.Grants(roles: [.pull]), #"\ud83d\ude00"#: Policy.Grants()])
        #expect(try Policy(parsing: policy.text) == policy)
        for half in [#"\ud83d"#, #"\ude00"#, #"\ude00\ud83d"#, #"\ud83d\u0041"#, #"\ud83d\"#] {
            #expect(throws: AuthenticationError.self) {
                try Policy(parsing: "{\"users\": {\"\(half)\": {\"roles\": []}}}")
            }
        }
    }

    @Test("Users are told apart by the bytes of their names")
    func lookAlikes() throws {
        let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
        #expect(composed == decomposed && UserName(composed) != UserName(decomposed))
        var policy = Policy()
        try policy.set(composed, [.operator])
        let principals = Principals(policy)
        #expect(principals[composed].may(.operator) && !principals[decomposed].may(.pull))
        #expect(policy.roles(of: decomposed).isEmpty)
        try policy.set(decomposed, [])
        #expect(policy.roles(of: composed) == [.operator])
        var users = Htpasswd()
        let hash = try BcryptHash(password: "a", cost: 4)
        try users.set(composed, hash)
        #expect(users.hash(of: composed) == hash && users.hash(of: decomposed) == nil)
        #expect(!users.remove(decomposed) && users.users == [composed])
        try users.set(decomposed, try BcryptHash(password: "b", cost: 4))
        #expect(users.hash(of: composed) == hash)
        #expect(
            try Htpasswd(parsing: users.text).users.map { Array($0.utf8) }
                == [composed, decomposed].map { Array($0.utf8) })
        // In one policy they are refused, since nobody could tell them apart.
        #expect(throws: AuthenticationError.self) {
            try Policy(parsing: "users:\n  \(composed): {roles: [operator]}\n  \(decomposed): {roles: [pull]}\n")
        }
    }

    private static let whole = """
        # Ours.
        # Ask the platform team.
        users:
          "ci":
            roles: [stage]
            repositories:
              "base/*": [pull]
              "team-a/**": [push]
          "old":
            roles: []
          "spiffe://cluster/ns/x":
            repositories:
              "**": [pull]
        anonymous:
          repositories:
            "public/**": [pull]

        """

    @Test(
        "Patterns are read from the forms that people write",
        arguments: [
            whole,
            """
            # Ours.
            # Ask the platform team.
            anonymous: { repositories: { "public/**": [pull] } }
            users:
              old: {roles: []}
              ci: { roles: [stage], repositories: { "team-a/**": [push], base/*: [pull] } }
              spiffe://cluster/ns/x:
                repositories:
                  '**':
                    - pull
            """,
        ])
    func patterns(text: String) throws {
        let policy = try Policy(parsing: text)
        #expect(policy.text == Self.whole)
        let ci = policy.principal(of: "ci")
        #expect(ci.may(.stage) && !ci.may(.pull) && !ci.may(.push))
        #expect(ci.may(.push, on: "team-a/x") && ci.may(.pull, on: "team-a/x/y") && ci.may(.stage, on: "other"))
        #expect(ci.may(.pull, on: "base/alpine") && !ci.may(.push, on: "base/alpine"))
        #expect(!ci.may(.pull, on: "team-b/x"))
        #expect(policy.principal(of: "spiffe://cluster/ns/x").may(.pull, on: "team-b/x"))
    }

    @Test("Giving a user other roles leaves everything else in the file as it is")
    func editing() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/policy.yaml"
        try Data(Self.whole.utf8).write(to: URL(fileURLWithPath: path))
        try Policy.update(path) { policy throws(AuthenticationError) in try policy.set("ci", [.pull]) }
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(text == Self.whole.replacing("roles: [stage]", with: "roles: [pull]"))
        try Policy.update(path) { policy throws(AuthenticationError) in try policy.set("ci", []) }
        let policy = try Policy(path: path)
        #expect(Set(policy.users.keys) == ["old", "spiffe://cluster/ns/x"])
        #expect(policy.anonymous.repositories.count == 1)
    }

    @Test(
        "Patterns that can't be used are errors that say where",
        arguments: [
            ("users:\n  a:\n    repositories:\n      x/**: [pull]\n      team//x: [pull]\n", 5, "empty"),
            ("users:\n  a:\n    repositories:\n      a/**/b: [pull]\n", 4, "last component"),
            ("users:\n  a:\n    repositories:\n      a**: [pull]\n", 4, "last component"),
            ("users:\n  a:\n    repositories:\n      Team/x: [pull]\n", 4, "lower-case"),
            ("users:\n  a:\n    repositories:\n      /x: [pull]\n", 4, "empty"),
            ("users:\n  a:\n    repositories:\n      x: [operator]\n", 4, "there are pull, push"),
            ("users:\n  a:\n    repositories:\n      x: [stage]\n", 4, "there are pull, push"),
            ("users:\n  a:\n    repositories:\n      x: []\n", 4, "no roles"),
            ("users:\n  a:\n    repositories:\n      x: pull\n", 4, "list"),
            ("users:\n  a:\n    repositories: [x]\n", 3, "mapping"),
            ("users:\n  a:\n    repository:\n      x: [pull]\n", 3, "'repository' of the user 'a' is not known"),
            ("users:\n  a:\n    roles: [pull]\n  b: {roles: [admin]}\n", 4, "the user 'b'"),
            ("users:\nanonymous:\n  roles: [pull]\n", 3, "'roles' of 'anonymous' is not known"),
            ("anonymous:\n  repositories:\n    public/**: [push]\n", 3, "nothing but pull"),
            ("anonymous: {repositories: {x: [pull, push]}}\n", 1, "nothing but pull"),
            ("users:\nquota:\n", 2, "'quota' is not known"),
            (#"{"users":{"a":{"repositories":{"A":["pull"]}}}}"#, 1, "of the user 'a'"),
        ])
    func badPatterns(text: String, line: Int, words: String) {
        do {
            _ = try Policy(parsing: text)
            Issue.record("it was taken")
        } catch {
            guard case .policy(line, let reason) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(reason.contains(words))
            #expect(line > 0 || !error.description.contains("line"))
        }
    }

    @Test("Patterns are bounded in number and length")
    func bounds() throws {
        func text(_ count: Int) -> String {
            "users:\n  a:\n    repositories:\n"
                + (0..<count).map { "      x/\($0): [pull]\n" }.joined()
        }
        let policy = try Policy(parsing: text(1000))
        #expect(policy.principal(of: "a").may(.pull, on: "x/999"))
        #expect(throws: AuthenticationError.self) { try Policy(parsing: text(1001)) }
        #expect(throws: RepositoryPattern.Fault.self) { try RepositoryPattern(String(repeating: "a", count: 256)) }
    }

    @Test("Operators may do everything, pushers may pull, and nobody else what is not theirs")
    func roles() {
        let allowed = Dictionary(
            uniqueKeysWithValues: Role.allCases.map { role in
                (role, Set(Role.allCases.filter { Principal(name: "x", roles: [role]).may($0) }))
            })
        #expect(
            allowed == [
                .pull: [.pull], .push: [.push, .pull], .stage: [.stage], .cluster: [.cluster],
                .operator: Set(Role.allCases),
            ])
        #expect(!Principal(name: "x", roles: []).may(.pull))
    }

    @Test("A first start makes an operator and a pull user; a second one changes nothing", .timeLimit(.minutes(5)))
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

    @Test("A pipe or a directory in place of a file is an error, at once", .timeLimit(.minutes(1)))
    func pipes() throws {
        let directory = try TemporaryDirectory()
        let (pipe, folder) = (directory.path + "/pipe", directory.path + "/folder")
        #expect(mkfifo(pipe, 0o600) == 0 && mkdir(folder, 0o700) == 0)
        for path in [pipe, folder, "/dev/zero"] {
            #expect(throws: AuthenticationError.file(path: path, reason: "it is no regular file")) {
                try Policy(path: path)
            }
            #expect(throws: AuthenticationError.file(path: path, reason: "it is no regular file")) {
                try Htpasswd(path: path)
            }
        }
    }
}
