import TestSupport
import Testing

@Suite("Hostile droplets", .serialized)
struct HostileDropletTests {
    @Test("each is refused with its status, says why, and leaves nothing behind")
    func refused() async throws {
        // The bombs unpack to 20 GiB and 1,100,000 entries: lower limits find them sooner than the defaults.
        let limits = ["--limits-unpacked-bytes", "1073741824", "--limits-entries", "10000"]
        try await withServer(arguments: limits) { server in
            try await server.importTinyRootfs()
            let droplets = try await Fixtures.hostile()
            #expect(droplets.count > 100)
            for droplet in droplets {
                let status = try #require(droplet.refusal)
                let sha256 = try await runSuccessfully("sha256sum", ["--binary", droplet.path]).output.prefix(64)
                let answer = try await server.request(
                    "PUT", "/droplets/hostile/\(sha256)?stack=tiny", as: .operator, body: .file(droplet.path))
                #expect(answer.status == status, "\(droplet.name): \(droplet.why)\n\(answer.text)")
                #expect(answer.text.contains("description"), "\(droplet.name) is refused with a reason")
                let stored = try await server.request("HEAD", "/droplets/hostile/\(sha256)", as: .operator)
                #expect(stored.status == 404, "\(droplet.name) is not stored")
            }
            let uploaded = try await server.upload(Fixtures.sample("static"), guid: "fine")
            #expect(uploaded.digest.hasPrefix("sha256:"), "the server goes on")
        }
    }
}
