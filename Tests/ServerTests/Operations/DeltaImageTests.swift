import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Images with deltas", .serialized, .sideBySide)
    struct DeltaImageTests {
        private static let auto = ["--stack", "tiny", "--rootfs-delta", "auto"]

        @Test("An image on the next rootfs is the one before and a layer on top, and stays that whatever is set later")
        func auto() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let droplet = Droplet("delta")
                let (one, two) = try await World.with(data: data, Self.auto) { world in
                    try await world.server.importTinyRootfs(version: "1")
                    try await world.upload(droplet, guid: "app")
                    let one = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                    try await world.server.importTinyRootfs(version: "2")
                    let two = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                    #expect(Array(two.layers.dropLast()) == one.layers)
                    #expect(two.layers.count == one.layers.count + 1)
                    #expect(
                        (two.layers.last?["size"]?.integer ?? .max) < 1000,
                        "that is all that a node with the other one fetches")
                    try await two.verifyLayers(from: world.client)
                    let pinned = try await Image("\(droplet.sha256)-2", of: "cloudfoundry/app", from: world.client)
                    #expect(pinned.digest == two.digest)

                    // Its base image is the version itself, as everybody else knows it.
                    let base = try await Image("2", of: "cistern/tiny", from: world.client)
                    let name = "org.opencontainers.image.base.digest"
                    #expect(two.config["config"]?["Labels"]?[name]?.string == base.digest)
                    let version = try await world.client.get("/api/v1/rootfs/tiny/2", as: "operator").json
                    let layers = version["versions"]?.array?.first?["layers"]?.array ?? []
                    #expect(base.layers.map { $0["digest"] } == layers.map { $0["digest"] })

                    // And back: the image of before.
                    try await world.server.cisternSuccessfully([
                        "rootfs", "promote", "--stack", "tiny", "--version", "1",
                    ])
                    let back = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                    #expect(back.digest == one.digest)
                    return (one, two)
                }
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    for (tag, image) in [("-1", one), ("-2", two)] {
                        let again = try await Image(droplet.sha256 + tag, of: "cloudfoundry/app", from: world.client)
                        #expect(again.digest == image.digest)
                    }
                    try await world.server.cisternSuccessfully(["gc"])
                    try await world.server.cisternSuccessfully(["verify"])
                }
            }
        }

        @Test(
            "Where it is off, too large, or there was an image on the version before, images have the version's own layers",
            arguments: [["--rootfs-delta", "off"], ["--rootfs-delta-percent", "0"]])
        func plain(setting: [String]) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let droplet = Droplet("plain")
                let digest = try await World.with(data: data, Self.auto + setting) { world in
                    try await world.server.importTinyRootfs(version: "1")
                    try await world.upload(droplet, guid: "app")
                    let one = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                    try await world.server.importTinyRootfs(version: "2")
                    let two = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                    #expect(
                        two.layers.count == one.layers.count && two.layers.first != one.layers.first)
                    return two.digest
                }
                try await World.with(data: data, Self.auto) { world in
                    try await world.server.cisternSuccessfully(["rootfs", "delta", "1", "2", "--stack", "tiny"])
                    let two = try await Image(droplet.sha256, of: "cloudfoundry/app", from: world.client)
                    #expect(two.digest == digest)
                }
            }
        }
    }
}
