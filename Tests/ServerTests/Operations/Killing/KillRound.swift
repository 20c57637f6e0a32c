import Foundation
import TestSupport
import Testing

/// Uploads from several clients at once, and the moment of the server's death among them.
struct KillRound: CustomStringConvertible, Sendable {
    private static let clients = 4

    let number: Int
    private let moment: KillMoment
    private let seed: UInt64

    init(number: Int, random: inout SeededRandom) {
        self.number = number
        moment = KillMoment(acknowledgements: 0...6, microseconds: 0...40_000, random: &random)
        seed = random.next()
    }

    var description: String { "\(number), \(moment)" }

    /// Uploads until the server is killed.
    func uploadAndKill(_ server: KillableServer) async throws -> [Upload] {
        let acknowledged = Counter()
        return try await withThrowingTaskGroup(of: [Upload].self) { group in
            for client in 0..<Self.clients {
                group.addTask { try await upload(client, server.client, acknowledged) }
            }
            group.addTask {
                try await moment.kill(server, after: acknowledged)
                return []
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
    }

    /// One client: small droplets, one after the other, until there is no answer any more.
    private func upload(_ index: Int, _ client: Client, _ acknowledged: Counter) async throws -> [Upload] {
        var random = SeededRandom(seed: seed &+ UInt64(index))
        let guid = "k\(number)-\(index)"
        var uploads: [Upload] = []
        // Far more than it gets to: a server that is not killed is a failure of its own.
        while uploads.count < 1000 {
            let droplet = Droplet("\(guid) \(uploads.count)", noise: Int.random(in: 0...60_000, using: &random))
            let path = "/droplets/\(guid)/\(droplet.sha256)"
            let answer = try? await client.send("PUT", path, as: "operator", body: droplet.bytes, limit: .seconds(60))
            if let answer { try #require(answer.status == 201, "\(answer.text)") }
            uploads.append(Upload(guid: guid, droplet: droplet, isAcknowledged: answer != nil))
            if answer == nil { break }
            acknowledged.add()
        }
        return uploads
    }

    struct Upload: Sendable {
        enum Depth { case bytes, layers }

        let guid: String
        let droplet: Droplet
        let isAcknowledged: Bool

        /// What is wrong: an acknowledged droplet must be there, and what is there must be whole.
        func problem(_ depth: Depth, _ client: Client) async throws -> String? {
            // All as one user, since each costs a password check after each start.
            let answer = try await client.get("/droplets/\(guid)/\(droplet.sha256)", as: "operator")
            let manifest = "/v2/cloudfoundry/\(guid)/manifests/\(droplet.sha256)"
            if answer.status == 404, !isAcknowledged {
                let image = try await client.get(manifest, as: "operator")
                return image.status == 404 ? nil : "an image without its droplet"
            }
            guard answer.status == 200 else { return "it is answered with \(answer.status): \(answer.text)" }
            guard answer.body == droplet.bytes else { return "its bytes are others" }
            guard depth == .layers else {
                return try await client.head(manifest, as: "operator").status == 200 ? nil : "it has no image"
            }
            let image = try await Image(droplet.sha256, of: "cloudfoundry/\(guid)", from: client, as: "operator")
            try await image.verifyLayers(all: guid.hasSuffix("-0"), from: client, as: "operator")
            return nil
        }
    }
}
