import Testing

/// One who uploads droplets and deletes some again, all the while others push, promote and collect garbage.
struct Stager: Sendable {
    let number: Int
    /// What was acknowledged and not deleted since.
    private(set) var droplets: [(guid: String, droplet: Droplet)] = []

    init(number: Int) { self.number = number }

    mutating func work(_ world: World, until deadline: ContinuousClock.Instant) async throws {
        var step = 0
        while ContinuousClock.now < deadline {
            // Every second one is another stager's droplet too, and comes back after it was deleted and collected.
            let text = step.isMultiple(of: 2) ? "crowd \(step / 2 % 20)" : "crowd \(number) \(step)"
            let (guid, droplet) = ("crowd-\(number)-\(step)", Droplet(text, noise: 20_000))
            try await world.upload(droplet, guid: guid)
            droplets.append((guid, droplet))
            if droplets.count > 12 {
                let (guid, droplet) = droplets.removeFirst()
                let answer = try await world.client.send(
                    "DELETE", "/droplets/\(guid)/\(droplet.sha256)", as: "operator")
                try #require(answer.status == 204, "\(answer.text)")
            }
            step += 1
        }
    }

    /// Every droplet comes back as it was, and its image is whole.
    func expectWhole(_ world: World) async throws {
        #expect(!droplets.isEmpty)
        for (guid, droplet) in droplets {
            let answer = try await world.client.get("/droplets/\(guid)/\(droplet.sha256)", as: "operator")
            #expect(answer.status == 200 && answer.body == droplet.bytes, "\(guid)")
            try await Image(droplet.sha256, of: "cloudfoundry/\(guid)", from: world.client).verifyLayers(
                from: world.client)
        }
    }

    /// Promotes one rootfs version and another in turn; each shows at once.
    static func promote(_ world: World, until deadline: ContinuousClock.Instant) async throws {
        var step = 0
        while ContinuousClock.now < deadline {
            let version = step.isMultiple(of: 2) ? "2" : "1"
            let answer = try await world.client.send(
                "PUT", "/api/v1/rootfs/tiny/current", as: "operator", body: Array(#"{"version":"\#(version)"}"#.utf8))
            try #require(answer.status == 200, "\(answer.text)")
            let current = try await Image("current", of: "cistern/tiny", from: world.client)
            let named = try await Image(version, of: "cistern/tiny", from: world.client)
            #expect(current.digest == named.digest)
            step += 1
        }
    }
}
