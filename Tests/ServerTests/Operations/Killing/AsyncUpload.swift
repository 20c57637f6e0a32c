import Foundation
import JSON
import OCI
import TestSupport
import Testing

/// Bits that were sent with `?async=true`, and what has to come of them.
struct AsyncUpload: Sendable {
    private static let clients = 4

    let path: String
    /// What the controller is asked to change.
    let told: String
    let bytes: [UInt8]
    /// Whether they are what they should be; then they must be there, and else not.
    let isGood: Bool
    let isDroplet: Bool
    /// Whether the client was answered 202.
    private(set) var isAccepted = false

    /// The next one of a client: kinds in turn.
    private init(_ guid: String, kind: Int, random: inout SeededRandom) throws {
        // So much that no content is small enough to lie in a record.
        let noise = makeNoise(Int.random(in: 10_000...60_000, using: &random), seed: guid).map { $0 % 64 + 48 }
        let text = guid + String(decoding: noise, as: UTF8.self)
        isDroplet = kind == 4
        isGood = kind != 1
        if isDroplet {
            let droplet = Droplet(text)
            (path, told, bytes) = ("/droplets/\(guid)/\(droplet.sha256)", "droplets/\(guid)", droplet.bytes)
            return
        }
        bytes = isGood ? try TestZip.bytes(["content": text]) : Array(text.utf8)
        (path, told) =
            switch kind {
            case 2: ("/buildpacks/\(guid)", "buildpacks/\(guid)")
            case 3: ("/buildpack_cache/entries/\(guid)/tiny", "caches/\(guid)")
            default: ("/packages/\(guid)", "packages/\(guid)")
            }
    }

    /// The message that says what came of them; nil if it is another one.
    func outcome(_ message: JSONValue) -> JSONValue? {
        guard isGood else {
            return message["state"] == "FAILED" && message["error"]?.string?.isEmpty == false ? message : nil
        }
        let checksum: JSONValue = ["type": "sha256", "value": .string(Digest.of(bytes).hex)]
        return message["state"] == "READY" && message["checksums"]?.array?.contains(checksum) == true ? message : nil
    }

    /// Several clients upload, one thing after the other, until the server is killed.
    static func sendUntilKilled(
        _ name: String, _ server: KillableServer, _ moment: KillMoment, seed: UInt64
    ) async throws -> [AsyncUpload] {
        let acknowledged = Counter()
        return try await withThrowingTaskGroup(of: [AsyncUpload].self) { group in
            for client in 0..<clients {
                group.addTask {
                    var random = SeededRandom(seed: seed &+ UInt64(client))
                    var uploads: [AsyncUpload] = []
                    // Far more than it gets to: a server that is not killed is a failure of its own.
                    while uploads.count < 1000 {
                        var upload = try AsyncUpload(
                            "\(name)-\(client)-\(uploads.count)", kind: (client + uploads.count) % 5, random: &random)
                        let answer = try? await server.client.send(
                            "PUT", upload.path + "?async=true", as: "operator", body: upload.bytes,
                            limit: .seconds(60))
                        if let answer { try #require(answer.status == 202, "\(answer.text)") }
                        upload.isAccepted = answer != nil
                        uploads.append(upload)
                        if answer == nil { break }
                        acknowledged.add()
                    }
                    return uploads
                }
            }
            group.addTask {
                try await moment.kill(server, after: acknowledged)
                return []
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
    }
}
