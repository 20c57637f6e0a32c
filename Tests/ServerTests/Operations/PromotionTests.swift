import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Promotion under load", .serialized, .sharedServer)
    struct PromotionTests {
        @Test("Pulls by tag give one whole version or the other, and the new one once the promotion is answered")
        func consistent() async throws {
            let world = try SharedServer.world()
            let droplet = Droplet("promotion")
            try await world.upload(droplet, guid: "promotion")
            var images: [String: Image] = [:]
            for version in ["1", "2"] {
                images[version] = try await Image(
                    "\(droplet.sha256)-\(version)", of: "cloudfoundry/promotion", from: world.client)
            }
            let known = images.mapValues(\.digest)
            let promotions = Counter()
            let pulls = Counter()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<3 {
                    group.addTask {
                        while promotions.value < 50, !Task.isCancelled {
                            let image = try await Image(
                                droplet.sha256, of: "cloudfoundry/promotion", from: world.client)
                            #expect(known.values.contains(image.digest))
                            #expect(image.config["rootfs"]?["diff_ids"]?.array?.count == image.layers.count)
                            pulls.add()
                        }
                    }
                }
                group.addTask {
                    for round in 0..<50 {
                        let version = round.isMultiple(of: 2) ? "2" : "1"
                        let answer = try await world.client.send(
                            "PUT", "/api/v1/rootfs/tiny/current", as: "operator",
                            body: Array(#"{"version":"\#(version)"}"#.utf8))
                        #expect(answer.status == 200, "\(answer.text)")
                        let image = try await Image(droplet.sha256, of: "cloudfoundry/promotion", from: world.client)
                        #expect(image.digest == known[version], "the first pull after the answer, round \(round)")
                        promotions.add()
                    }
                }
                try await group.waitForAll()
            }
            #expect(pulls.value >= 20, "the pulls ran beside the promotions")
            for image in images.values {
                let again = try await Image(image.digest, of: "cloudfoundry/promotion", from: world.client)
                try await again.verifyLayers(from: world.client)
            }
        }

        @Test(
            "What can't be promoted changes nothing",
            arguments: [
                (#"{"version":"3"}"#, 404), (#"{"version":"../1"}"#, 400), ("{}", 400), ("", 400), ("[]", 400),
                (#"{"version":1}"#, 400),
                (#"{"version":"1","reason":"\#(String(repeating: "x", count: 1001))"}"#, 400),
                (String(repeating: "[", count: 100_000), 413),
            ])
        func refused(body: String, status: Int) async throws {
            let client = try SharedServer.world().client
            let before = try await client.get("/api/v1/rootfs/tiny/current", as: "operator").json["version"]
            let answer = try await client.send(
                "PUT", "/api/v1/rootfs/tiny/current", as: "operator", body: Array(body.utf8))
            #expect(answer.status == status, "\(answer.text)")
            #expect(answer.json["error"]?.string?.isEmpty == false, "\(answer.text)")
            #expect(try await client.get("/api/v1/rootfs/tiny/current", as: "operator").json["version"] == before)
        }
    }
}
