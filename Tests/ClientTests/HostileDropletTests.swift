import TestSupport
import Testing

@Suite("Hostile droplets", .serialized)
struct HostileDropletTests {
    @Test("each is refused with its status, says why, and leaves nothing behind")
    func refused() async throws {
        // The bombs unpack to 20 GiB: a limit of 1 GiB finds them sooner than the default.
        try await withServer(arguments: ["--limits-unpacked-bytes", "1073741824"]) { server in
            try await server.importTinyRootfs()
            for droplet in try await Fixtures.hostile() {
                let status = try #require(droplet.refusal)
                let sha256 = try await runSuccessfully("sha256sum", ["--binary", droplet.path]).output.prefix(64)
                let answer = try await server.request(
                    "PUT", "/droplets/hostile/\(sha256)?stack=tiny", as: .operator, body: .file(droplet.path))
                #expect(answer.status == status, "\(droplet.name): \(droplet.why)\n\(answer.text)")
                #expect(!answer.body.isEmpty || status == 413, "\(droplet.name) is refused with a reason")
                let stored = try await server.request("HEAD", "/droplets/hostile/\(sha256)", as: .operator)
                #expect(stored.status == 404, "\(droplet.name) is not stored")
            }
            let uploaded = try await server.upload(Fixtures.sample("static"), guid: "fine")
            #expect(uploaded.digest.hasPrefix("sha256:"), "the server goes on")
        }
    }
}
