import Foundation
import TestSupport
import Testing

extension ServerTests {
    @Suite("Secrets", .serialized, .sideBySide)
    struct SecretsTests {
        @Test("Neither the most talkative log, nor an answer, nor the process list holds any")
        func nowhere() async throws {
            try await World.with(["--log-level", "trace", "--stack", "tiny"]) { world in
                try await world.server.importTinyRootfs()
                let droplet = Droplet("secrets")
                try await world.upload(droplet, guid: "secrets")
                let password = try #require(world.client.passwords["operator"])
                let authorization = world.client.authorization("operator")
                var answers: [Answer] = []
                // Credentials that are refused, in the wrong place, in a broken request.
                let wrong = Client(port: world.client.port, passwords: ["operator": password + "x", password: "x"])
                answers.append(try await wrong.get("/v2/", as: "operator"))
                answers.append(try await wrong.get("/v2/", as: password))
                answers.append(try await world.client.get("/v2/", as: nil, ["Authorization": "Bearer \(password)"]))
                answers.append(try await world.client.get("/v2/", ["X-Request-Id": "a-sane-id"]))
                answers.append(try await world.client.get("/v2/x/tags/list?password=\(password)"))
                answers.append(
                    try await world.client.send("PUT", "/droplets/a/b?signature=\(password)", as: "operator", body: []))
                let broken = try await RawConnection(port: world.client.port)
                try await broken.send("GET / HTTP/1.1\r\nAuthorization: \(authorization)\r\nContent-Length: x\r\n\r\n")
                answers.append(try await Answer(from: broken))
                #expect(answers.map(\.status) == [401, 401, 401, 200, 404, 400, 400])
                for answer in answers {
                    let text = answer.headers.map { "\($0.name): \($0.value)\n" }.joined() + answer.text
                    for secret in try world.secrets() { #expect(!text.contains(secret), "an answer holds a secret") }
                }
                for file in ["cmdline", "environ"] {
                    let bytes =
                        FileManager.default.contents(atPath: "/proc/\(world.server.process.pid)/\(file)") ?? Data()
                    let text = String(decoding: bytes, as: UTF8.self)
                    #expect(text.contains(file == "environ" ? "PATH=" : "serve"), "\(file) can be read")
                    for secret in try world.secrets() { #expect(!text.contains(secret), "\(file)") }
                }
                #expect(world.log.contains("secrets"), "what is not secret is logged")
                #expect(!world.log.contains(password + "x"), "nor are wrong passwords, which are often nearly right")
            }
        }

        @Test("--print-config on a used data directory holds none")
        func printConfig() async throws {
            try await World.with { world in
                let result = try await run("cistern", ["serve", "--data", world.directory, "--print-config"])
                #expect(result.status == 0)
                for secret in try world.secrets() { #expect(!(result.output + result.errors).contains(secret)) }
            }
        }

        @Test("A first start prints where the passwords are, not what they are")
        func firstStart() async throws {
            try await World.with { world in
                #expect(world.log.contains(world.server.passwordFile(of: .operator)))
                #expect(world.log.contains(world.server.passwordFile(of: .pull)))
                #expect(world.client.passwords.values.allSatisfy { $0.count >= 20 })
                #expect(world.client.passwords["operator"] != world.client.passwords["pull"])
            }
        }
    }
}
