import Bits
import Blobs
import Clusters
import Droplets
import Images
import JSON
import Layers
import Maintenance
import OCI
import ObjectStore
import Records
import Registry
import Rootfs
import TestSupport
import Testing

/// A kind of record that a store has, by its keys.
private struct Kind: Sendable, CustomTestStringConvertible {
    let name: String
    let prefix: String
    /// Whether verification names it: all but what is never needed.
    var isReported = true
    /// Whether a repair writes it again from what others know.
    var isMended = false
    /// Whether writers of the repository must change it, so that they leave a newer one alone.
    var isChanged = false

    var testDescription: String { name }

    static let all = [
        Kind(name: "blob, in its record", prefix: "blobs/", isMended: true, isChanged: true),
        Kind(name: "blob, in an object", prefix: "blobs/", isMended: true, isChanged: true),
        Kind(name: "manifest of a repository", prefix: "repositories/a/b/_manifests/", isMended: true),
        Kind(name: "blob of a repository", prefix: "repositories/a/b/_blobs/", isMended: true),
        Kind(name: "tag", prefix: "repositories/a/b/_tags/v1"),
        Kind(name: "referrer", prefix: "repositories/a/b/_referrers/", isReported: false, isMended: true),
        Kind(name: "marker", prefix: "catalog/a!b", isMended: true, isChanged: true),
        Kind(name: "reference index", prefix: "collection/references/", isReported: false),
        Kind(name: "droplet index", prefix: "collection/droplets/", isReported: false),
        Kind(name: "recipe", prefix: "recipes/"),
        Kind(name: "droplet", prefix: "bits/droplets/records/app/"),
        Kind(name: "conversion", prefix: "bits/droplets/conversions/"),
        Kind(name: "package", prefix: "bits/packages/app"),
        Kind(name: "buildpack", prefix: "bits/buildpacks/app"),
        Kind(name: "build cache", prefix: "bits/caches/app/"),
        Kind(name: "upload of bits", prefix: "bits/pending/"),
        Kind(name: "file of the stash", prefix: "bits/resources/"),
        Kind(name: "rootfs version", prefix: "rootfs/teststack/1/amd64"),
        Kind(name: "current rootfs version", prefix: "rootfs/teststack/2/amd64"),
        Kind(name: "stack", prefix: "rootfs/teststack/current"),
        Kind(name: "rootfs state of before", prefix: "rootfs/teststack/1/state"),
        Kind(name: "rootfs delta", prefix: "rootfs/teststack/2/delta-from/"),
        Kind(name: "layer plan", prefix: "rootfs/teststack/1/form/"),
        Kind(name: "package list", prefix: "rootfs/teststack/1/packages/"),
        Kind(name: "build rootfs version", prefix: "rootfs-build/teststack/1/amd64"),
        Kind(name: "report of a cluster", prefix: "pins/east/0"),
        Kind(name: "cluster", prefix: "clusters/east/identity"),
        Kind(name: "state of a cluster", prefix: "clusters/east/state"),
        Kind(name: "operation", prefix: "operations/"),
    ]

    func key(in memory: MemoryObjectStore) async throws -> ObjectKey {
        if name == "blob, in an object" { return try Self.record(of: Digest.of(UnreadableTown.layer("a/b"))) }
        if name == "blob, in its record" {
            let tag = try await memory.get(try ObjectKey("repositories/a/b/_tags/v1"))
            return try Self.record(
                of: try Digest(parsing: try JSONValue(parsing: tag.bytes)["digest"]?.string ?? ""))
        }
        return try #require(try await memory.list(prefix: prefix, startAfter: nil, limit: 1).first?.key)
    }

    private static func record(of digest: Digest) throws -> ObjectKey {
        try ObjectKey("blobs/sha256/\(digest.hex.prefix(2))/\(digest.hex)")
    }
}

private enum Damage: CaseIterable, Sendable {
    case flipped, cut, emptied, removed, newer

    /// - Returns: where the record is that can't be read now.
    func apply(to key: ObjectKey, in memory: MemoryObjectStore) async throws -> ObjectKey {
        var bytes = try await memory.get(key).bytes
        switch self {
        case .flipped: bytes[0] ^= 1
        case .cut: bytes.removeLast(bytes.count / 2 + 1)
        case .emptied: bytes = []
        case .removed:
            try await memory.delete(key, ifVersion: nil)
            return key
        case .newer:
            let newer: JSONValue = ["format": 99, "what": "nobody knows"]
            bytes = newer.canonicalBytes
            // A recipe's name is the digest of its bytes.
            if key.text.hasPrefix("recipes/") {
                let key = try ObjectKey("recipes/" + Digest.of(bytes).hex)
                try await memory.put(key, bytes, if: .always)
                return key
            }
        }
        try await memory.put(key, bytes, if: .always)
        return key
    }
}

@Suite("One record that can't be read, of any kind", .timeLimit(.minutes(10)))
struct UnreadableRecordTests {
    /// All digests that have a blob.
    private func alive(_ town: UnreadableTown) async throws -> Set<Digest> {
        var walk = BlobWalk(in: town.memory)
        var digests: Set<Digest> = []
        while let page = try await walk.next() { digests.formUnion(page) }
        return digests
    }

    private func checkOthers(_ town: UnreadableTown, but damaged: ObjectKey) async throws {
        let name = try RepositoryName(parsing: "c/d")
        for tag in ["v1", "v2"] {
            // Both repositories have the same config.
            let manifest = try await town.registry.manifest(name, try Reference(parsing: tag))
            for layer in try Manifest(json: try JSONValue(parsing: manifest.bytes)).layers {
                let blob = try await town.registry.openBlob(name, layer.digest)
                #expect(try await blob.reader.read(at: 0, maximum: 10).count == 10)
                await blob.reader.close()
            }
        }
        for name in [try BitsName(.packages, "other"), try BitsName(.buildpacks, "other")] {
            let record = try await town.bits.find(name)
            #expect(try await town.blobs.find(record.digest)?.size == record.size)
        }
        for droplet in try await town.droplets.droplets(of: try DropletGUID("other")) {
            for digest in [droplet.content.digest] + droplet.content.layers.map(\.digest) {
                #expect(try await town.blobs.find(digest) != nil)
            }
        }
    }

    @Test(
        "stops neither the start, nor pulls, pushes, collections and verifications, and what it named stays",
        arguments: Kind.all, Damage.allCases)
    fileprivate func policy(kind: Kind, damage: Damage) async throws {
        let memory = try await UnreadableTown.fill()
        let before = try await alive(try await UnreadableTown(memory))
        let key = try await damage.apply(to: try await kind.key(in: memory), in: memory)

        let town = try await UnreadableTown(memory)
        try await checkOthers(town, but: key)
        // May write down again what was removed.
        _ = try await town.collect()
        let kept = try? await memory.get(key).bytes
        if damage != .removed {
            let after = try await alive(town)
            #expect(before.subtracting(after).isEmpty, "a collection took what may be named")
        }
        try await checkOthers(town, but: key)
        let report = try await town.verify()
        let named = report.unreadableRecords.filter { $0.key == key.text }
        if kind.isReported, damage != .removed {
            #expect(named.map(\.outcome) == [.kept])
            #expect(town.unreadable.all.map(\.key).contains(key), "the overview does not tell of it")
        }
        #expect(report.unreadableRecords.count == named.count)
        if kind.isReported {
            let rest = try? await memory.get(key).bytes
            #expect(rest == kept, "verification changed it")
        }

        // Pushing goes on, and mends what can be mended that way.
        _ = try await town.push("c/d", "v3", "new")
        if damage != .newer || !(kind.isChanged || key.text.hasPrefix("repositories/a/b/_manifests")) {
            for tag in ["v1", "v3"] { _ = try await town.push("a/b", tag, "a/b") }
            let pushed = try await town.registry.manifest(
                try RepositoryName(parsing: "a/b"), try Reference(parsing: "v1"))
            #expect(!pushed.bytes.isEmpty)
        }
    }

    @Test(
        "is mended by a repair, or set aside; one of a newer format is left alone", arguments: Kind.all, Damage.allCases
    )
    fileprivate func repair(kind: Kind, damage: Damage) async throws {
        let memory = try await UnreadableTown.fill()
        let whole = try await kind.key(in: memory)
        let key = try await damage.apply(to: whole, in: memory)
        let damaged = try? await memory.get(key).bytes
        let town = try await UnreadableTown(memory)
        let report = try await town.verify(repair: true)
        if kind.isReported, damage != .removed {
            let named = report.unreadableRecords.filter { $0.key == key.text }
            // Of a blob that a record holds nothing is left when that is cut or emptied.
            let isLost = kind.name == "blob, in its record" && damage != .flipped
            #expect(
                named.map(\.outcome)
                    == [damage == .newer ? .kept : kind.isMended && !isLost ? .mended : .setAside])
        }
        if damage == .newer {
            if kind.isReported { #expect(try await memory.get(key).bytes == damaged) }
        } else if kind.isReported {
            let again = try await UnreadableTown(memory).verify()
            #expect(again.unreadable == 0 && again.unlinked == 0)
        }
        let restarted = try await UnreadableTown(memory)
        _ = try await restarted.collect()
        try await checkOthers(restarted, but: key)
    }

    @Test("is dealt with by who deletes what it stands for", arguments: [Damage.flipped, .cut])
    fileprivate func deleting(damage: Damage) async throws {
        let memory = try await UnreadableTown.fill()
        for kind in Kind.all {
            if ["droplet", "rootfs version", "tag", "manifest of a repository", "report of a cluster", "cluster"]
                .contains(kind.name)
            {
                _ = try await damage.apply(to: try await kind.key(in: memory), in: memory)
            }
        }
        let town = try await UnreadableTown(memory)
        let name = try RepositoryName(parsing: "a/b")
        try await town.registry.deleteTag(name, try Tag(parsing: "v1"))
        let manifest = try #require(
            try await memory.list(prefix: "repositories/a/b/_manifests/sha256/", startAfter: nil, limit: 1).first)
        try await town.registry.deleteManifest(
            name, try Digest(.sha256, hex: String(manifest.key.text.split(separator: "/").last ?? "")))
        let droplet = try #require(
            try await memory.list(prefix: "bits/droplets/records/app/", startAfter: nil, limit: 1).first)
        let hash = try #require(DropletHash(droplet.key.text.split(separator: "/").last ?? ""))
        try await town.droplets.remove(try DropletGUID("app"), hash)
        try await town.clusters.forget(try ClusterName("east"))
        try await town.retention.remove(
            try StackName(UnreadableTown.stack), try VersionName("1"), force: true)
        #expect(try await UnreadableTown(memory).verify().unreadable == 0)
        #expect(town.unreadable.all.isEmpty)
    }

    @Test("a collection goes on with bytes that are younger than what can't be read")
    func younger() async throws {
        let memory = try await UnreadableTown.fill()
        _ = try await Damage.flipped.apply(
            to: try ObjectKey("rootfs/teststack/1/amd64"), in: memory)
        // Written now, by the store's clock, and relied on long ago.
        let old = BlobStore(store: memory, now: { 1_800_000_000_000_000_000 })
        let garbage = try await old.put([UInt8](repeating: 7, count: 10_000))
        let report = try await UnreadableTown(memory).collect()
        #expect(report.retired == 1)
        #expect(try await old.find(garbage.digest) == nil)
    }
}
