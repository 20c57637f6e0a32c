import OCI
import Testing

/// What one client pushed to a repository of its own, and what it was told.
struct PushLedger: Sendable {
    let repository: String
    /// Acknowledged.
    private(set) var blobs: [Content] = []
    /// By digest, acknowledged and not deleted since.
    private(set) var manifests: [String: [UInt8]] = [:]
    /// Tags, and the digests that each may have by now: more than one if an answer did not come.
    private(set) var tags: [String: Set<String?>] = [:]
    /// What was asked for and not answered: there or not, but never in part.
    private(set) var openBlobs: [Content] = []
    private(set) var openManifests: [String: [UInt8]] = [:]
    /// Manifests whose deletion was acknowledged.
    private(set) var deleted: Set<String> = []

    init(repository: String) { self.repository = repository }

    mutating func push(_ content: Content, acknowledged: Bool) {
        if acknowledged { blobs.append(content) } else { openBlobs.append(content) }
    }

    mutating func push(_ manifest: [UInt8], tag: String, acknowledged: Bool) {
        let digest = Digest.of(manifest).description
        if acknowledged {
            manifests[digest] = manifest
            tags[tag] = [digest]
        } else {
            openManifests[digest] = manifest
            tags[tag, default: [nil]].insert(digest)
        }
    }

    mutating func delete(_ digest: String, acknowledged: Bool) {
        let manifest = manifests.removeValue(forKey: digest)
        if acknowledged { deleted.insert(digest) } else { openManifests[digest] = manifest }
        for (tag, digests) in tags where digests.contains(digest) {
            tags[tag] = acknowledged ? Set(digests.map { $0 == digest ? nil : $0 }) : digests.union([nil])
        }
        letGo()
    }

    /// Garbage is collected all the while: blobs that no manifest names may go.
    mutating func letGo() {
        let named = manifests.values.map { String(decoding: $0, as: UTF8.self) }.joined()
        openBlobs += blobs.filter { !named.contains($0.digest) }
        blobs.removeAll { !named.contains($0.digest) }
    }

    /// What is wrong with what the server has now.
    func problems(_ client: Client, as user: String = "operator") async throws -> [String] {
        let repo = Repo(client, repository, as: user)
        var problems: [String] = []
        for (content, isOpen) in blobs.map({ ($0, false) }) + openBlobs.map({ ($0, true) }) {
            let answer = try await repo.get("blobs/\(content.digest)")
            if isOpen, answer.status == 404 { continue }
            if answer.status != 200 { problems.append("blob \(content): \(answer.status) \(answer.text)") }
            if answer.status == 200, answer.body != content.bytes { problems.append("blob \(content) has other bytes") }
        }
        let known = manifests.map { ($0, $1, false) } + openManifests.map { ($0, $1, true) }
        for (digest, manifest, isOpen) in known {
            let answer = try await repo.get("manifests/\(digest)")
            if isOpen, answer.status == 404 { continue }
            if answer.status != 200 { problems.append("manifest \(digest): \(answer.status) \(answer.text)") }
            if answer.status == 200, answer.body != manifest { problems.append("manifest \(digest) has other bytes") }
        }
        for digest in deleted where try await repo.status("manifests/\(digest)") != 404 {
            problems.append("manifest \(digest) is back after its deletion")
        }
        for (tag, digests) in tags {
            let answer = try await repo.get("manifests/\(tag)")
            let digest = answer.status == 200 ? Digest.of(answer.body).description : nil
            if !digests.contains(digest) || ![200, 404].contains(answer.status) {
                problems.append("tag \(tag): \(answer.status) \(digest ?? answer.text) and not \(digests)")
            }
        }
        // Others may be there if nothing was ever acknowledged.
        let listed = try await repo.get("tags/list")
        let expected = Set(tags.filter { !$0.value.contains(nil) }.keys)
        if !Set(listed.strings("tags")).isSuperset(of: expected) {
            problems.append("the list lacks a tag: \(listed.text)")
        }
        if !Set(tags.keys).isSuperset(of: listed.strings("tags")) {
            problems.append("the list is too long: \(listed.text)")
        }
        return problems.map { "\(repository): \($0)" }
    }
}
