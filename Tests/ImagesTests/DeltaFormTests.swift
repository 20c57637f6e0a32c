import Archive
import Droplets
import Images
import ImagesTesting
import JSON
import Layers
import OCI
import Packages
import Rootfs
import Synchronization
import TestSupport
import Testing

@testable import Maintenance

@Suite("What images on a rootfs version are made of")
struct DeltaFormTests {
    private static let droplet = TestTar.droplet("app")

    private func delta(_ house: TestHouse, _ from: String, _ to: String) async throws -> LayerReference {
        let stack = try StackName(TestHouse.stack)
        let (old, new) = (try VersionName(from), try VersionName(to))
        let read = Mutex<Int64>(0)
        let layer = try await house.rootfs.computeDelta(
            DeltaRequest(
                stack: stack, from: old, to: new, architecture: .amd64, times: .compared, compression: .gzip,
                by: "tester")
        ) { more in read.withLock { $0 += more } }.delta.layer
        func size(_ version: VersionName) throws -> Int64 {
            try house.rootfs.version(stack, version, .amd64).layers.reduce(0) { $0 + $1.size }
        }
        #expect(try read.withLock { $0 } == size(old) + 2 * size(new), "what an operator is shown as progress")
        return layer
    }

    private func layers(_ image: ComposedImage) throws -> [Digest] {
        try Manifest(json: try JSONValue(parsing: image.manifest)).layers.map(\.digest)
    }

    @Test("deltas follow one another up to the length that is allowed, then there are the version's own layers")
    func chain() async throws {
        let policy = DeltaPolicy(maximumPercent: 1000, maximumLength: 2)
        let house = try await TestHouse(deltas: policy)
        for version in ["1", "2", "3", "4"] { try await house.importRootfs(version) }
        let hash = try await house.upload("app", Self.droplet).hash
        try await house.promote("1")
        let one = try layers(try await house.image("app", hash))
        var expected = one
        for (old, new) in [("1", "2"), ("2", "3")] {
            expected.append(try await delta(house, old, new).digest)
            try await house.promote(new)
            #expect(try layers(try await house.image("app", hash)) == expected)
        }
        _ = try await delta(house, "3", "4")
        try await house.promote("4")
        let four = try layers(try await house.image("app", hash))
        #expect(four.count == one.count && four.first != one.first && four.dropFirst() == one.dropFirst())

        // After a restart, and with other settings, everything is what it was.
        for policy in [nil, policy, DeltaPolicy(maximumPercent: 0, maximumLength: 1)] {
            let again = try await TestHouse(store: house.store, deltas: policy)
            #expect(try layers(try await again.image("app", "\(hash)-3")) == expected)
            #expect(try layers(try await again.image("app", "\(hash)-4")) == four)
        }
        // Nor does another lifecycle change it.
        let upgraded = try await TestHouse(store: house.store, launch: "launch 2", deltas: policy)
        let layersThen = try layers(try await upgraded.image("app", "\(hash)-3"))
        #expect(layersThen.count == expected.count && layersThen.last == expected.last && layersThen != expected)
    }

    @Test("an image that was there before the delta stays as it is")
    func frozen() async throws {
        let house = try await TestHouse(deltas: DeltaPolicy(maximumPercent: 1000, maximumLength: 5))
        for version in ["1", "2"] { try await house.importRootfs(version) }
        let hash = try await house.upload("app", Self.droplet).hash
        try await house.promote("1")
        let before = try await house.image("app", "\(hash)-2")
        _ = try await delta(house, "1", "2")
        try await house.promote("2")
        #expect(try await house.image("app", hash).manifestDigest == before.manifestDigest)
        let docker = try await house.image("app", hash, .docker)
        #expect(try layers(docker) == layers(before))
    }

    @Test("what they are made of is a root for garbage collection, whichever version it came with")
    func roots() async throws {
        let house = try await TestHouse(deltas: DeltaPolicy(maximumPercent: 1000, maximumLength: 5))
        for version in ["1", "2"] { try await house.importRootfs(version) }
        let hash = try await house.upload("app", Self.droplet).hash
        try await house.promote("1")
        let layer = try await delta(house, "1", "2")
        #expect(try await roots(house).contains(layer.digest))
        try await house.promote("2")
        let image = try await house.image("app", hash)
        try await house.images.remove(try StackName(TestHouse.stack), try VersionName("1"))
        let roots = try await roots(house)
        #expect(try layers(image).allSatisfy { roots.contains($0) })
        #expect(try await house.visibleKeys().allSatisfy { !$0.contains("delta-from") })
        #expect(try await house.image("app", hash).manifestDigest == image.manifestDigest)
    }

    private func roots(_ house: TestHouse) async throws -> DigestSet {
        var mark = RootMark(cutoff: 0, isDryRun: true, reading: house.store, CollectionReport()) { _ in }
        let owners: [any ContentOwner] = [
            AppDroplets(images: house.images), RootfsVersions(images: house.images), ImageRecipes(images: house.images),
        ]
        for owner in owners { try await owner.roots(&mark) }
        return mark.marked
    }
}
