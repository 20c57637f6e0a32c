import Blobs
import Droplets
import Images
import ImagesTesting
import JSON
import Layers
import Maintenance
import OCI
import ObjectStore
import Registry
import Rootfs
import TestSupport
import Testing

@Suite("Sizes that records name", .timeLimit(.minutes(5)))
struct RecordSizeTests {
    /// The largest that is read, in bytes.
    private static let largest: Int64 = (1 << 53) - 1

    /// Replaces each size in the first record below a prefix.
    /// - Returns: its key.
    private static func set(_ size: Int64, _ prefix: String, in memory: MemoryObjectStore) async throws -> ObjectKey {
        let key = try #require(try await memory.list(prefix: prefix, startAfter: nil, limit: 1).first?.key)
        let text = String(decoding: try await memory.get(key).bytes, as: UTF8.self)
        let changed = text.replacing(/"(size|sourceSize|uncompressedSize|rootfsSize)":[0-9]+/) {
            "\"\($0.output.1)\":\(size)"
        }
        try #require(changed != text)
        try await memory.put(key, Array(changed.utf8), if: .always)
        return key
    }

    @Test(
        "that no store has make a record unreadable, and stop neither collections nor counts nor verifications",
        arguments: [
            "bits/droplets/records/app/", "bits/droplets/conversions/", "rootfs/teststack/1/amd64",
            "rootfs/teststack/2/delta-from/", "rootfs/teststack/1/form/", "repositories/a/b/_manifests/",
            "repositories/a/b/_blobs/",
        ], [largest + 1, .max])
    func unreadable(prefix: String, size: Int64) async throws {
        let memory = try await UnreadableTown.fill()
        let key = try await Self.set(size, prefix, in: memory)
        let town = try await UnreadableTown(memory)
        _ = try await town.collect()
        _ = try await town.count()
        _ = try await town.droplets.counts()
        let report = try await town.verify()
        #expect(report.unreadableRecords.map(\.key) == [key.text])
    }

    @Test("are added up to the largest number there is")
    func sums() async throws {
        let memory = try await UnreadableTown.fill()
        let layer: JSONValue = [
            "compression": "gzip", "digest": .string(Digest.of([1]).description), "size": .integer(Self.largest),
            "diffID": .string(Digest.of([1]).description),
        ]
        // A thousand of the largest are less than 2^63, and these are more.
        let layers = JSONValue.array(Array(repeating: layer, count: 1100))
        for (prefix, member) in [
            ("bits/droplets/records/app/", "layers"), ("bits/droplets/records/other/", "layers"),
            ("rootfs/teststack/1/amd64", "layers"), ("rootfs/teststack/1/form/", "rootfs"),
        ] {
            let key = try await Self.set(Self.largest, prefix, in: memory)
            var members = try #require(try JSONValue(parsing: try await memory.get(key).bytes).object)
            members[member] = layers
            try await memory.put(key, JSONValue.object(members).canonicalBytes, if: .always)
        }
        let manifest = try await Self.set(Self.largest, "repositories/a/b/_manifests/sha256/", in: memory)
        let bytes = try await memory.get(manifest).bytes
        for number in 0..<1100 {
            let hex = Digest.of(Array("\(number)".utf8)).hex
            try await memory.put(try ObjectKey("repositories/a/b/_manifests/sha256/\(hex)"), bytes, if: .absent)
        }
        _ = try await Self.set(Self.largest, "rootfs/teststack/2/delta-from/", in: memory)

        let town = try await UnreadableTown(memory)
        let counted = try #require(try await town.count())
        #expect(counted.logicalBytes == .max)
        #expect(Set(counted.largest.filter { $0.bytes == .max }.map(\.repository)).count == 3)
        let (stack, one, two) = (
            try StackName(UnreadableTown.stack), try VersionName("1"), try VersionName("2")
        )
        #expect(try town.rootfs.version(stack, one, .amd64).layers.totalSize == .max)
        #expect(try town.rootfs.delta(stack, one, two, .amd64).share == 10_000)
        // They have the layers that the version had.
        for recipe in try await memory.list(prefix: "recipes/", startAfter: nil, limit: 100) {
            try await memory.delete(recipe.key, ifVersion: nil)
        }
        let house = try await TestHouse(store: memory)
        #expect(try await house.images.prepull(stack, one, .amd64).emptyBytes == .max)
        _ = try await town.collect()
    }
}
