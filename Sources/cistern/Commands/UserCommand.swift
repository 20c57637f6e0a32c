import ArgumentParser
import Identity
import JSON

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "The users of a server's data directory.",
        discussion: "Works on the files; a running server takes the changes within seconds.",
        subcommands: [Add.self, List.self, Remove.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a user, or give one another password or roles. The password is read from standard input.")

        @Option(help: "The server's data directory.") var data: String
        @Option(help: "pull, push, stage, cluster or operator (may be repeated); without it, pull.")
        var role: [String] = []
        @Option(help: "The one cluster that the role cluster is for.") var cluster: String?
        @Argument(help: "The user's name.") var name: String

        func run() async throws {
            let roles = try role.map { text in
                guard let role = Role(rawValue: text) else {
                    throw ValidationError(
                        "'\(printable(text))' is no role: there are pull, push, stage, cluster and operator.")
                }
                return role
            }
            guard roles.contains(.cluster) == (cluster != nil) else {
                throw ValidationError("The role cluster needs --cluster NAME, and no other role takes it.")
            }
            guard let password = readLine(strippingNewline: true), !password.isEmpty else {
                throw CommandError("no password came on standard input")
            }
            let hash = try BcryptHash(password: password)
            let paths = FirstUsers.Paths(data: data)
            // The password file comes first, since it is stricter about names: a name in the policy may also be a
            // certificate's.
            try Htpasswd.update(paths.users) { (users) throws(AuthenticationError) in try users.set(name, hash) }
            try Policy.update(paths.policy) { (policy) throws(AuthenticationError) in
                // Without `--role`, a user with roles on some repositories only keeps those, and gets no role
                // everywhere.
                if roles.isEmpty, let grants = policy.users[UserName(name)], grants.roles.isEmpty { return }
                try policy.set(name, roles.isEmpty ? [.pull] : Set(roles), cluster: cluster)
            }
            print("user \(name) is written to \(paths.users)")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the users and their roles.")

        @Option(help: "The server's data directory.") var data: String
        @Flag(help: "Print JSON.") var json = false

        func run() async throws {
            let paths = FirstUsers.Paths(data: data)
            let users = try Htpasswd(path: paths.users).users
            let policy = try Policy(path: paths.policy)
            func roles(_ user: String) -> [String] { policy.roles(of: user).map(\.rawValue).sorted() }
            if json {
                let list = users.map { user -> JSONValue in
                    var members: [String: JSONValue] = [
                        "name": .string(user), "roles": .array(roles(user).map { .string($0) }),
                    ]
                    if let cluster = policy.users[UserName(user)]?.cluster { members["cluster"] = .string(cluster) }
                    return .object(members)
                }
                print(JSONValue.object(["users": .array(list)]).prettyText)
            } else {
                var table = Table(["USER", "ROLES"])
                for user in users {
                    let cluster = policy.users[UserName(user)]?.cluster.map { " of \($0)" } ?? ""
                    table.add([user, roles(user).map { $0 == "cluster" ? $0 + cluster : $0 }.joined(separator: ", ")])
                }
                print(table.text, terminator: "")
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a user.")

        @Option(help: "The server's data directory.") var data: String
        @Argument(help: "The user's name.") var name: String

        func run() async throws {
            let paths = FirstUsers.Paths(data: data)
            let wasThere = try Htpasswd.update(paths.users) { (users) throws(AuthenticationError) in
                let wasThere = users.remove(name)
                // A server takes no file without users, so that the user would stay.
                guard !wasThere || !users.users.isEmpty else { throw .lastUser(name) }
                return wasThere
            }
            try Policy.update(paths.policy) { (policy) throws(AuthenticationError) in try policy.set(name, []) }
            guard wasThere else { throw CommandError("there is no user \(printable(name)) in \(paths.users)") }
            print("user \(name) is removed")
        }
    }
}
