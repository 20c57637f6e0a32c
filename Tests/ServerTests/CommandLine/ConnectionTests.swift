import Foundation
import TestSupport
import Testing

extension ServerTests {
    @Suite("cistern: how it reaches a server", .serialized, .emptyServer)
    struct ConnectionTests {
        private static func list(_ changed: [String: String], _ arguments: [String] = []) async throws -> CommandResult
        {
            let environment = try SharedServer.world().server.commandLineEnvironment().merging(changed) { $1 }
            return try await run(
                "cistern", ["droplet", "list"] + arguments, environment: environment, timeout: .seconds(60))
        }

        @Test("By the environment, or by flags, which win")
        func flags() async throws {
            let world = try SharedServer.world()
            #expect(try await Self.list([:]).status == 0)
            let flags = [
                "--server", world.server.url, "--user", "operator", "--password-file",
                world.server.passwordFile(of: .operator),
                "--ca", world.server.certificateAuthority,
            ]
            let wrong = [
                "CISTERN_SERVER": "https://127.0.0.1:1", "CISTERN_USER": "x", "CISTERN_PASSWORD_FILE": "/x",
                "CISTERN_CA": "/x",
            ]
            let result = try await Self.list(wrong, flags)
            #expect(result.status == 0, "\(result.errors)")
            let plain = try await Self.list(["CISTERN_SERVER": "http://127.0.0.1:\(world.client.port)"])
            #expect(plain.status == 0, "\(plain.errors)")
            let slash = try await Self.list(["CISTERN_SERVER": world.server.url + "/"])
            #expect(slash.status == 0, "\(slash.errors)")
        }

        @Test(
            "What is missing is named, as a usage error",
            arguments: [
                ("CISTERN_SERVER", "--server"), ("CISTERN_USER", "--user"),
                ("CISTERN_PASSWORD_FILE", "--password-file"),
            ])
        func missing(variable: String, flag: String) async throws {
            let result = try await Self.list([variable: ""])
            #expect(result.status == 2, "\(result.errors)")
            #expect(result.errors.contains(variable) && result.errors.contains(flag), "\(result.errors)")
        }

        @Test(
            "What is no URL of a server is a usage error",
            arguments: [
                "127.0.0.1:8443", "ftp://127.0.0.1", "https://", "nonsense", "https://a b",
            ])
        func noURL(url: String) async throws {
            let result = try await Self.list(["CISTERN_SERVER": url])
            #expect(result.status == 2 && result.errors.contains(url), "\(result.errors)")
        }

        @Test("A wrong password, an unknown user and a role that is too small are told apart from other failures")
        func refused() async throws {
            try await withTemporaryDirectory { directory in
                let file = directory + "/password"
                try Data("a wrong password\n".utf8).write(to: URL(fileURLWithPath: file))
                for change in [["CISTERN_PASSWORD_FILE": file], ["CISTERN_USER": "stranger"]] {
                    let result = try await Self.list(change)
                    #expect(result.status == 1 && result.errors.contains("password"), "\(result.errors)")
                    #expect(result.errors.contains("--user") && result.errors.contains("--password-file"))
                    #expect(!result.errors.contains("a wrong password"))
                }
            }
            let server = try SharedServer.world().server
            let result = try await server.cistern(["droplet", "list"], as: .pull)
            #expect(result.status == 1 && result.errors.contains("operator"), "\(result.errors)")
        }

        @Test("A password file that can't be read is named")
        func noPassword() async throws {
            let result = try await Self.list(["CISTERN_PASSWORD_FILE": "/nonexistent/password"])
            #expect(result.status == 1 && result.errors.contains("/nonexistent/password"), "\(result.errors)")
        }

        @Test("A certificate authority that did not sign, is none or is missing is named")
        func authority() async throws {
            try await withTemporaryDirectory { directory in
                try await runSuccessfully(
                    "openssl",
                    [
                        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                        "/CN=other",
                        "-keyout", directory + "/key.pem", "-out", directory + "/other.pem",
                    ])
                let other = try await Self.list(["CISTERN_CA": directory + "/other.pem"])
                #expect(other.status == 1 && other.errors.contains("--ca"), "\(other.errors)")
                for path in ["/nonexistent/ca.pem", "/etc/passwd"] {
                    let result = try await Self.list(["CISTERN_CA": path])
                    #expect(result.status == 1 && result.errors.contains(path), "\(result.errors)")
                }
                let none = try await Self.list(["CISTERN_CA": ""])
                #expect(none.status == 1 && none.errors.contains("--ca"), "\(none.errors)")
            }
        }

        @Test("A name that the certificate does not have is told apart from a wrong authority")
        func otherName() async throws {
            try await World.with(["--listen", "0.0.0.0:0"]) { world in
                let addresses = try String(contentsOfFile: world.directory + "/address", encoding: .utf8)
                let port = try #require(
                    addresses.split(separator: "\n").first { $0.contains("0.0.0.0") }?.split(separator: ":").last)
                let environment = world.server.commandLineEnvironment().merging(
                    ["CISTERN_SERVER": "https://127.0.0.2:\(port)"]) { $1 }
                let result = try await run(
                    "cistern", ["droplet", "list"], environment: environment, timeout: .seconds(60))
                #expect(result.status == 1 && result.errors.contains("another name"), "\(result.errors)")
            }
        }

        @Test("Nothing that listens, something that is no HTTP, TLS where there is none: each says what to look at")
        func unreachable() async throws {
            let world = try SharedServer.world()
            let nothing = try await Self.list(["CISTERN_SERVER": "https://127.0.0.1:\(try freePort())"])
            #expect(nothing.status == 1 && nothing.errors.contains("cistern serve"), "\(nothing.errors)")
            let unknown = try await Self.list(["CISTERN_SERVER": "https://no-such-host.invalid:1"])
            #expect(unknown.status == 1 && unknown.errors.contains("no-such-host.invalid"), "\(unknown.errors)")
            let plain = try await Self.list(["CISTERN_SERVER": "https://127.0.0.1:\(world.client.port)"])
            #expect(plain.status == 1 && plain.errors.contains("http://"), "\(plain.errors)")
            let secure = try await Self.list(["CISTERN_SERVER": "http://\(world.server.address)"])
            #expect(secure.status == 1 && secure.errors.contains("https://"), "\(secure.errors)")
        }
    }

    @Suite("cistern user", .serialized, .sideBySide)
    struct UserCommandTests {
        private static func user(_ arguments: [String], input: String = "") async throws -> CommandResult {
            try await run("cistern", ["user"] + arguments, input: input, timeout: .seconds(60))
        }

        @Test("Users are added, listed, changed and removed; the server knows them after its next start")
        func lifecycle() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await World.with(data: data) { _ in }
                let added = try await Self.user(
                    ["add", "--data", data, "--role", "push", "--role", "stage", "ci"], input: "first secret\n")
                #expect(added.status == 0 && added.errors.isEmpty && !added.output.contains("secret"))
                let list = try await Self.user(["list", "--data", data])
                #expect(list.output.contains("ci") && list.output.contains("push, stage"))
                let json = try await Self.user(["list", "--data", data, "--json"])
                let users = try JSONDecoder().decode([String: [Listed]].self, from: Data(json.stdout))["users"] ?? []
                #expect(users.map(\.name) == ["operator", "pull", "ci"])
                #expect(users.last?.roles == ["push", "stage"])
                try await World.with(data: data) { world in
                    for (password, status) in [("first secret", 200), ("other", 401)] {
                        let client = Client(port: world.client.port, passwords: ["ci": password])
                        let answer = try await client.get("/v2/", as: "ci")
                        #expect(answer.status == status)
                    }
                    #expect(!world.log.contains("first secret"))
                }
                #expect(try await Self.user(["add", "--data", data, "ci"], input: "second secret\n").status == 0)
                #expect(try await Self.user(["remove", "--data", data, "pull"]).status == 0)
                try await World.with(data: data) { world in
                    let client = Client(
                        port: world.client.port,
                        passwords: world.client.passwords.merging(["ci": "second secret"]) { $1 })
                    let droplet = "/droplets/a/\(Droplet("a").sha256)"
                    for (method, path, user, status) in [
                        ("GET", "/v2/", "ci", 200), ("GET", droplet, "ci", 404), ("PUT", droplet, "ci", 403),
                        ("GET", "/v2/", "pull", 401),
                    ] {
                        let answer = try await client.send(method, path, as: user, body: [])
                        #expect(answer.status == status, "\(user) has the role pull, which is the default")
                    }
                }
                let again = try await Self.user(["remove", "--data", data, "pull"])
                #expect(again.status == 1 && again.errors.contains("pull"))
            }
        }

        private struct Listed: Decodable {
            let name: String
            let roles: [String]
        }

        @Test(
            "What can't be a user is refused, and the files stay as they are",
            arguments: [
                (["ci"], ""), (["ci"], "\n"), (["ci"], String(repeating: "x", count: 73) + "\n"), (["a:b"], "secret\n"),
                ([""], "secret\n"),
                (["#a"], "secret\n"), (["--role", "king", "ci"], "secret\n"),
                ([String(repeating: "a", count: 256)], "secret\n"), (["a\nb"], "secret\n"),
            ])
        func refused(arguments: [String], input: String) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await runSuccessfully("mkdir", [data])
                #expect(try await Self.user(["add", "--data", data, "first"], input: "secret\n").status == 0)
                let files = ["users.htpasswd", "policy.yaml"].map {
                    FileManager.default.contents(atPath: "\(data)/\($0)")
                }
                let result = try await Self.user(["add", "--data", data] + arguments, input: input)
                #expect([1, 2].contains(result.status) && !result.errors.isEmpty && result.output.isEmpty)
                #expect(!result.errors.contains("secret"), "\(result.errors)")
                #expect(
                    ["users.htpasswd", "policy.yaml"].map { FileManager.default.contents(atPath: "\(data)/\($0)") }
                        == files)
            }
        }

        @Test("A directory that is not there is a failure that names it", arguments: ["list", "add", "remove"])
        func noDirectory(verb: String) async throws {
            let arguments = [verb, "--data", "/nonexistent/data"] + (verb == "list" ? [] : ["name"])
            let result = try await Self.user(arguments, input: "secret\n")
            #expect(result.status == 1 && result.errors.contains("/nonexistent/data"), "\(result.errors)")
            #expect(!FileManager.default.fileExists(atPath: "/nonexistent"))
        }
    }
}
