import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Pre-pull", .serialized, .sideBySide)
    struct PrepullTests {
        private static func sum(_ image: Image, without other: Image? = nil) -> Int64 {
            image.layers.filter { layer in other?.layers.contains(layer) != true }
                .reduce(0) { $0 + ($1["size"]?.integer ?? 0) }
        }

        @Test(
            "It names what can be pulled ahead, and the bytes that a node fetches with it, without it and as it is",
            arguments: ["off", "auto"])
        func plan(deltas: String) async throws {
            try await World.with(["--stack", "tiny", "--rootfs-delta", deltas]) { world in
                let droplet = Droplet("prepull")
                try await world.server.importTinyRootfs(version: "1")
                try await world.upload(droplet, guid: "app")
                let one = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                try await world.server.importTinyRootfs(version: "2", promote: false)
                let plan = try await world.client.get("/api/v1/rootfs/tiny/2/prepull", as: "operator").json
                let two = try await Image("\(droplet.sha256)-2", of: "cloudfoundry/app", from: world.client)
                let app = two.layers[2]["size"]?.integer ?? 0
                #expect(plan["previous"] == "1" && plan["form"]?.string == (deltas == "auto" ? "delta" : "full"))
                #expect(plan["bytes"]?["empty"]?.integer == Self.sum(two) - app)
                #expect(plan["bytes"]?["previous"]?.integer == Self.sum(two, without: one))
                #expect(plan["delta"]?.array?.count == (deltas == "auto" ? 1 : 0))

                // What it says to pull is an image, and all of its layers are the image's lowest ones.
                let pull = try #require(plan["pull"]?.array?.first)
                let reference = try #require(pull["reference"]?.string?.split(separator: "@").last.map(String.init))
                #expect(pull["reference"]?.string?.hasPrefix("127.0.0.1:") == true)
                let base = try await Image(reference, of: "cistern/tiny", from: world.client)
                #expect(base.layers.map { $0["digest"] } == [two.layers[0]["digest"]])
                #expect(pull["version"]?.string == (deltas == "auto" ? "1" : "2"))
                #expect(pull["helpsPrevious"]?.bool == (deltas == "off"), "nobody can pull a delta ahead")
                #expect(plan["bytes"]?["pulled"]?.integer == Self.sum(two, without: base) - app)

                let said = try await world.server.cisternSuccessfully([
                    "rootfs", "prepull", "--stack", "tiny", "--version", "2",
                ]).output
                #expect(said.contains("crictl pull") && said.contains(reference), "\(said)")
                #expect(said.contains("Nothing to pull ahead") == (deltas == "auto"), "\(said)")
                let first = try await world.client.get("/api/v1/rootfs/tiny/1/prepull", as: "operator").json
                #expect(first["previous"] == .null && first["bytes"]?["previous"] == .null)
                let none = try await world.client.get("/api/v1/rootfs/tiny/2/prepull?arch=arm64", as: "operator")
                #expect(none.status == 404)
            }
        }
    }
}
