import Droplets
import ImagesTesting
import JSON
import Layers
import OCI
import ObjectStore
import Rootfs
import TestSupport
import Testing

@testable import Images

@Suite("Derived digests")
struct DigestIndexTests {
    private static let guid = "app"

    @Test(
        "of 100 droplets on 25 versions in both vocabularies each is found after a restart, and guesses derive nothing")
    func complete() async throws {
        let house = try await TestHouse()
        for version in 1...25 { try await house.importRootfs("\(version)") }
        try await house.promote("1")
        var hashes: [String] = []
        for number in 0..<100 { hashes.append(try await house.upload(Self.guid, .droplet("\(number)")).hash) }
        var images: [ComposedImage] = []
        for family in MediaTypeFamily.allCases {
            for hash in hashes { images.append(try await house.image(Self.guid, "\(hash)-1", family)) }
            for version in 2...25 { images.append(try await house.image(Self.guid, "\(hashes[0])-\(version)", family)) }
        }
        let guid = try DropletGUID(Self.guid)
        let again = try await TestHouse(store: house.store)
        var missing = 0
        for image in images {
            if try await again.image(guid, image.manifestDigest) != image.served { missing += 1 }
            if try await again.app(guid).content(image.configDigest) != .document(image.config) { missing += 1 }
        }
        #expect(missing == 0)
        // Each combination was derived once at most, whatever was asked for and is not there.
        for number in 0..<500 {
            #expect(try await again.image(guid, Digest.of("guess \(number)".utf8)) == nil)
        }
        #expect(again.images.imageDigests.derived == 100 * 25 * 2)
    }

    @Test("a digest that was missed is found once a recipe makes it, though another recipe went meanwhile")
    func replaced() async throws {
        let house = try await TestHouse()
        for version in ["1", "2"] { try await house.importRootfs(version) }
        try await house.promote("2")
        let hash = try await house.upload(Self.guid, .droplet("app")).hash
        let other = try await house.upload("other", .droplet("other")).hash
        _ = try await house.image("other", "\(other)-1")
        let guid = try DropletGUID(Self.guid)

        // The same rootfs in another house gives the same image.
        let twin = try await TestHouse()
        try await twin.importRootfs("3")
        try await twin.promote("3")
        try await twin.upload(Self.guid, .droplet("app"))
        let image = try await twin.image(Self.guid, hash)
        #expect(try await house.image(guid, image.manifestDigest) == nil)

        try await house.images.remove(try StackName(TestHouse.stack), try VersionName("1"))
        try await house.importRootfs("3")
        _ = try await house.image("other", "\(other)-3")
        #expect(try await house.image(guid, image.manifestDigest) == image.served)
    }

    @Test("a version that goes takes its images along, and they are back once it is imported again")
    func back() async throws {
        let house = try await TestHouse()
        for version in ["1", "2"] { try await house.importRootfs(version) }
        try await house.promote("2")
        let hash = try await house.upload(Self.guid, .droplet("app")).hash
        let image = try await house.image(Self.guid, "\(hash)-1")
        let guid = try DropletGUID(Self.guid)
        let again = try await TestHouse(store: house.store)
        #expect(try await again.image(guid, image.manifestDigest) == image.served)
        let (stack, one) = (try StackName(TestHouse.stack), try VersionName("1"))
        try await again.images.remove(stack, one)
        #expect(try await again.image(guid, image.manifestDigest) == nil)
        try await again.importRootfs("1")
        let other = try await again.upload("other", .droplet("other")).hash
        _ = try await again.image("other", "\(other)-1")
        #expect(try await again.image(guid, image.manifestDigest) == image.served)
    }

    @Test("two apps that have one droplet in different layers each get their own layers")
    func layouts() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1")
        try await house.promote("1")
        let tar = TestTar([.directory("./app"), .directory("./deps"), .directory("./deps/0"), .file("./deps/0/x", "y")])
        let single = try await house.upload("single", tar)
        let split = try await house.upload("split", tar, mode: .split)
        #expect(single.hash == split.hash)
        for house in [house, try await TestHouse(store: house.store)] {
            for droplet in [single, split] {
                let image = try await house.image(droplet.guid.text, droplet.hash)
                let layers = Set(try Manifest(json: JSONValue(parsing: image.manifest)).layers.map(\.digest))
                #expect(layers.isSuperset(of: droplet.content.layers.map(\.digest)))
                #expect(try await house.image(droplet.guid, image.manifestDigest) == image.served)
            }
        }
    }

    @Test("with no memory to speak of every digest is still found")
    func bounded() async throws {
        let house = try await TestHouse()
        for version in ["1", "2", "3"] { try await house.importRootfs(version) }
        try await house.promote("1")
        let droplets = [try await house.upload("app", .droplet("a")), try await house.upload("app", .droplet("b"))]
        let base = RecipeStore.Base(stack: try StackName(TestHouse.stack), architecture: .amd64)
        let sources = droplets.map { DigestIndex.Source(droplet: $0.content, base: base) }
        var images: [ComposedImage] = []
        for droplet in droplets {
            for version in ["1", "2", "3"] { images.append(try await house.image("app", "\(droplet.hash)-\(version)")) }
        }
        let index = DigestIndex(house.images.recipes, maximumBytes: 1)
        for _ in 0..<2 {
            for image in images {
                let found = try await index.find(
                    image.manifestDigest, in: sources,
                    deriving: { (origin) throws(ImageError) in [origin.compose().manifestDigest] },
                    where: { (origin) throws(ImageError) in origin.compose().manifestDigest == image.manifestDigest })
                #expect(found?.compose() == image)
            }
        }
    }

    @Test("many who miss at once derive each combination once")
    func together() async throws {
        let house = try await TestHouse()
        for version in ["1", "2"] { try await house.importRootfs(version) }
        try await house.promote("1")
        for number in 0..<5 { try await house.upload(Self.guid, .droplet("\(number)")) }
        let hash = try await house.upload(Self.guid, .droplet("app")).hash
        for version in ["1", "2"] { _ = try await house.image(Self.guid, "\(hash)-\(version)") }
        let again = try await TestHouse(store: house.store)
        let guid = try DropletGUID(Self.guid)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<50 {
                group.addTask {
                    let found = try await again.image(guid, Digest.of("guess \(number)".utf8))
                    #expect(found == nil)
                }
            }
            try await group.waitForAll()
        }
        #expect(again.images.imageDigests.derived == 6 * 2)
    }
}
