import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("A full or failing disk", .serialized, .sideBySide)
    struct FullDiskTests {
        private static let size = 4 << 20

        @Test("Uploads get 507 while it is full, everything else goes on, and uploads work again once there is space")
        func full() async throws {
            try await withTemporaryDirectory { directory in
                let mount = try await Mount.memory(in: directory, megabytes: 160)
                try await World.with(data: mount.path + "/data", ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs()
                    try await world.server.importTinyRootfs(version: "2", promote: false)
                    let kept = Droplet("kept", noise: Self.size)
                    let removed = Droplet("removed", noise: 10_000)
                    try await world.upload(kept, guid: "kept")
                    try await world.upload(removed, guid: "removed")
                    let room = mount.free
                    // Each time it runs full at another moment: at once, within the bytes, at the records.
                    for (index, left) in [0, 4096, 100_000, 1 << 20, Self.size, 2 * Self.size].enumerated() {
                        try mount.fill(leaving: left)
                        try await Self.expectFull(Droplet("full \(index)", noise: Self.size), guid: "full", world)
                        try await Self.expectWhole(kept, guid: "kept", world)
                        mount.empty()
                        // What was written and then refused goes when the journal is applied: the next round's disk is
                        // full only if that is over. Two rootfs, the lifecycle layer, two droplets with a layer each.
                        // A file whose name is gone keeps its space until it is closed, too.
                        try await waitUntil("the refused bytes to be gone") {
                            world.store.unfinished().isEmpty && mount.free > room - (512 << 10)
                                && world.store.objects().count { $0.hasPrefix("data/") } == 7
                        }
                    }
                    try mount.fill(leaving: 0)
                    try await Self.expectFull(Droplet("still full", noise: Self.size), guid: "full", world)
                    try await Self.expectNoImport(world)
                    try await Self.expectNotPromoted(507, world)
                    try await Self.expectRemoved(removed, guid: "removed", world)
                    #expect(world.store.unfinished() == [])
                    mount.empty()
                    let fresh = Droplet("fresh", noise: Self.size)
                    try await world.upload(fresh, guid: "fresh")
                    try await Self.expectWhole(fresh, guid: "fresh", world)
                    try await Self.expectWhole(kept, guid: "kept", world)
                }
                // The store is valid: another start finds what was acknowledged.
                try await World.with(data: mount.path + "/data", ["--stack", "tiny"]) { world in
                    for text in ["kept", "fresh"] {
                        try await Self.expectWhole(Droplet(text, noise: Self.size), guid: text, world)
                    }
                    let list = try await world.client.get("/api/v1/droplets", as: "operator")
                    #expect(list.json["droplets"]?.array?.count == 2)
                }
            }
        }

        /// Refused, said why, and nothing of it is visible.
        private static func expectFull(_ droplet: Droplet, guid: String, _ world: World) async throws {
            let path = "/droplets/\(guid)/\(droplet.sha256)"
            let answer = try await world.client.send("PUT", path, as: "operator", body: droplet.bytes)
            #expect(answer.status == 507, "\(answer.text)")
            #expect(answer.json["code"] == 500000)
            #expect(answer.json["description"]?.string?.contains("full") == true)
            #expect(try await world.client.get(path, as: "operator").status == 404)
            #expect(try await world.client.get("/v2/cloudfoundry/\(guid)/manifests/\(droplet.sha256)").status == 404)
            try await withTemporaryDirectory { directory in
                try Data(droplet.bytes).write(to: URL(fileURLWithPath: directory + "/droplet"))
                let result = try await world.server.cistern([
                    "droplet", "upload", "--guid", guid, directory + "/droplet",
                ])
                #expect(result.status == 1 && result.errors.contains("full"), "\(result.errors)")
            }
        }

        private static func expectWhole(_ droplet: Droplet, guid: String, _ world: World) async throws {
            let answer = try await world.client.get("/droplets/\(guid)/\(droplet.sha256)", as: "operator")
            #expect(answer.status == 200 && answer.body == droplet.bytes)
            try await Image(droplet.sha256, of: "cloudfoundry/\(guid)", from: world.client).verifyLayers(
                from: world.client)
        }

        private static func expectRemoved(_ droplet: Droplet, guid: String, _ world: World) async throws {
            let path = "/droplets/\(guid)/\(droplet.sha256)"
            let answer = try await world.client.send("DELETE", path, as: "operator")
            #expect(answer.status == 204, "a DELETE works on a full disk: \(answer.text)")
            #expect(try await world.client.get(path, as: "operator").status == 404)
        }

        private static func expectNoImport(_ world: World) async throws {
            let file = try await Fixtures.tinyRootfs(version: "2")
            let result = try await world.server.cistern(
                ["rootfs", "import", "--stack", "tiny", "--version", "3", "--shell", "/bin/sh", file])
            #expect(result.status == 1 && result.errors.contains("full"), "\(result.errors)")
            let shown = try await world.server.cistern(["rootfs", "show", "--stack", "tiny", "--version", "3"])
            #expect(shown.status == 1, "nothing of it is there")
        }

        /// A promotion that failed has not happened: neither for operators nor for nodes.
        private static func expectNotPromoted(_ status: Int, _ world: World) async throws {
            let answer = try await world.client.send(
                "PUT", "/api/v1/rootfs/tiny/current", as: "operator", body: Array(#"{"version":"2"}"#.utf8))
            #expect(answer.status == status, "\(answer.text)")
            #expect(answer.json["error"]?.string?.isEmpty == false)
            let current = try await world.client.get("/api/v1/rootfs/tiny/current", as: "operator")
            #expect(current.json["version"] == "1")
            let base = try await Image("current", of: "cistern/tiny", from: world.client)
            #expect(base.digest == (try await Image("1", of: "cistern/tiny", from: world.client).digest))
        }

        @Test("A disk that became read-only gives 503 and goes on serving; repaired, everything acknowledged is there")
        func readOnly() async throws {
            try await withTemporaryDirectory { directory in
                let mount = try await Mount.disk(in: directory, megabytes: 160)
                let kept = Droplet("kept", noise: 100_000)
                let data = mount.path + "/data"
                let world = try await World(data: data, arguments: ["--stack", "tiny"])
                do {
                    try await world.server.importTinyRootfs()
                    try await world.server.importTinyRootfs(version: "2", promote: false)
                    try await world.upload(kept, guid: "kept")
                    try await world.upload(Droplet("other"), guid: "other")
                    try await mount.fail()
                    try await Self.expectUnavailable(world)
                    try await Self.expectWhole(kept, guid: "kept", world)
                    _ = try await world.server.stop()
                } catch {
                    try? await world.server.kill()
                    throw error
                }
                try await mount.detach(directory)
                try await mount.attach(directory)
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await Self.expectWhole(kept, guid: "kept", world)
                    try await world.upload(Droplet("later"), guid: "later")
                }
            }
        }

        private static func expectUnavailable(_ world: World) async throws {
            let droplet = Droplet("refused", noise: 100_000)
            let path = "/droplets/refused/\(droplet.sha256)"
            let answer = try await world.client.send("PUT", path, as: "operator", body: droplet.bytes)
            #expect(answer.status == 503, "\(answer.text)")
            #expect(answer.json["code"] == 500000 && answer.json["description"]?.string?.isEmpty == false)
            #expect(try await world.client.get(path, as: "operator").status == 404)
            let removal = try await world.client.send(
                "DELETE", "/droplets/other/\(Droplet("other").sha256)", as: "operator")
            #expect(removal.status == 503, "\(removal.text)")
            #expect(try await world.client.get("/healthz", as: nil).status == 200, "to be restarted would not help")
            try await waitUntil("/readyz to say so") { try await world.client.get("/readyz", as: nil).status == 503 }
            try await expectNotPromoted(503, world)
        }
    }
}
