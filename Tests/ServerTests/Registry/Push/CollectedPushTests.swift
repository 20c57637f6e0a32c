import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Collecting garbage while an image is pushed", .serialized, .sideBySide)
    struct CollectedPushTests {
        @Test("images that wait for their index stay, however soon untagged manifests may go")
        func untagged() async throws {
            try await World.with(["--gc-interval-seconds", "0", "--retention-untagged-seconds", "1"]) { world in
                let repo = Repo(world.client, "team/index")
                let layer = try await repo.push(makeNoise(1000, seed: "layer"))
                let child = Manifests.image(layers: [Manifests.descriptor(layer, size: 1000)])
                let digest = try await repo.push(manifest: child)
                // The index comes when more than a second has passed, as it may with many large images.
                let start = ContinuousClock.now
                try await waitUntil("more than the second to pass") {
                    ContinuousClock.now > start + .milliseconds(1500)
                }
                #expect(try await world.client.operate("/api/v1/gc")["state"] == "done")
                let index = Manifests.index([Manifests.descriptor(digest, size: child.count, type: Manifests.oci)])
                try await repo.push(manifest: index, "all", type: Manifests.index)
                try await repo.expectManifest(digest, child)
                try await repo.expectBlob(layer, makeNoise(1000, seed: "layer"))
            }
        }

        @Test("an upload that lasts over many collections is taken, and so is what it finds there already")
        func slow() async throws {
            try await World.with(["--gc-interval-seconds", "0", "--gc-grace-seconds", "60"]) { world in
                let repo = Repo(world.client, "team/slow")
                let bytes = makeNoise(10_000, seed: "slow")
                let digest = Digest.of(bytes).description
                let location = try await repo.begin()
                for start in stride(from: 0, to: bytes.count, by: 1000) {
                    #expect(try await repo.patch(location, Array(bytes[start..<start + 1000]), at: start).status == 202)
                    #expect(try await world.client.operate("/api/v1/gc")["state"] == "done")
                    let verified = try await repo.send("POST", "/api/v1/verify?repair=true", [:], [])
                    #expect([202, 409].contains(verified.status), "\(verified.text)")
                }
                try await repo.expectCreated(try await repo.put(location, digest), digest, bytes)
                #expect(try await world.client.operate("/api/v1/gc")["state"] == "done")
                let manifest = Manifests.image(layers: [Manifests.descriptor(digest, size: bytes.count)])
                try await repo.push(manifest: manifest, "a")
                #expect(try await world.client.operate("/api/v1/gc")["state"] == "done")
                try await repo.expectBlob(digest, bytes)
                try await repo.expectManifest("a", manifest)
            }
        }
    }
}
