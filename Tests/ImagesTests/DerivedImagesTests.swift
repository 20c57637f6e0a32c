import Blobs
import Droplets
import Images
import ImagesTesting
import JSON
import Layers
import OCI
import ObjectStore
import Packages
import Rootfs
import TestSupport
import Testing

@Suite("Derived images")
struct DerivedImagesTests {
    @Test("promoting another rootfs gives the same droplet a new image with one other layer, and stores no bytes")
    func promotion() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1")
        try await house.importRootfs("2")
        try await house.promote("1")
        let droplet = try await house.upload("app", .droplet("hello"))
        let first = try await house.image("app", droplet.hash)
        let dataBefore = try await house.store.list(prefix: "data/", startAfter: nil, limit: 1000).map(\.key)
        try await house.promote("2")
        let second = try await house.image("app", droplet.hash)
        #expect(try await house.store.list(prefix: "data/", startAfter: nil, limit: 1000).map(\.key) == dataBefore)
        let (one, two) = (try layers(first), try layers(second))
        #expect(one.count == 3)
        #expect(zip(one, two).map { $0 == $1 } == [false, true, true])
    }

    @Test("an image stays pullable by digest after promotions, a restart and an upgrade")
    func digests() async throws {
        let house = try await TestHouse()
        for version in ["1", "2", "3"] { try await house.importRootfs(version) }
        try await house.promote("1")
        let droplet = try await house.upload("app", .droplet("hello"))
        let guid = try DropletGUID("app")
        var seen: [ComposedImage] = []
        for version in ["1", "2", "3"] {
            try await house.promote(version)
            seen.append(try await house.image("app", droplet.hash))
            seen.append(try await house.image("app", droplet.hash, .docker))
        }
        #expect(Set(seen.map(\.manifestDigest)).count == 6)
        // A new lifecycle layer gives new images by tag, and changes none by digest.
        let upgraded = try await TestHouse(store: house.store, launch: "launch 2")
        for house in [house, try await TestHouse(store: house.store), upgraded] {
            for image in seen {
                #expect(try await house.image(guid, image.manifestDigest) == image.served)
                #expect(try await house.app(guid).content(image.configDigest) == .document(image.config))
                for layer in try layers(image) {
                    #expect(try await house.app(guid).content(layer.digest) == .layer(size: layer.size))
                    #expect(try await house.blobs.find(layer.digest)?.size == layer.size)
                }
            }
        }
        #expect(try await upgraded.image("app", droplet.hash) != seen[4])
    }

    @Test("buildpacks that staging states are in the image's labels, and change the image of no other droplet")
    func staged() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1")
        try await house.promote("1")
        let plain = try await house.upload("plain", .droplet("hello"))
        let before = try await house.image("plain", plain.hash)
        let documents = try await house.app(plain.guid).referrers(of: before.manifestDigest)
        let droplet = try await house.upload("app", .droplet("hello"), staged: Samples.staged)
        let image = try await house.image("app", droplet.hash)
        #expect(try layers(image) == layers(before) && image.configDigest != before.configDigest)
        let again = try await house.upload("app", .droplet("hello"))
        #expect(again == droplet, "what the first upload stated stays")
        for house in [house, try await TestHouse(store: house.store)] {
            #expect(try await house.image("app", droplet.hash) == image)
            #expect(try await house.image(droplet.guid, image.manifestDigest) == image.served)
            #expect(try await house.app(droplet.guid).content(image.configDigest) == .document(image.config))
            #expect(try await house.image("plain", plain.hash) == before)
            #expect(try await house.image(plain.guid, before.manifestDigest) == before.served)
            #expect(try await house.app(plain.guid).referrers(of: before.manifestDigest) == documents)
            #expect(try await house.image(plain.guid, image.manifestDigest) == nil, "it is another app's")
        }
    }

    @Test("a tag with a version stays on it, whatever is promoted")
    func pinned() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1.0-a")
        try await house.importRootfs("2")
        try await house.promote("1.0-a")
        let droplet = try await house.upload("app", .droplet("hello"))
        let pinned = try await house.image("app", "\(droplet.hash)-1.0-a")
        #expect(pinned == (try await house.image("app", droplet.hash)))
        try await house.promote("2")
        #expect(pinned == (try await house.image("app", "\(droplet.hash)-1.0-a")))
        #expect(pinned != (try await house.image("app", droplet.hash)))
        #expect(
            try await house.app(try DropletGUID("app")).tags(after: nil, limit: 100) == [
                droplet.hash, "\(droplet.hash)-1.0-a", "\(droplet.hash)-2",
            ])
    }

    @Test("pages of tags make up the whole list, wherever they begin")
    func pages() async throws {
        let house = try await TestHouse()
        for version in ["1", "1.0-a", "2"] { try await house.importRootfs(version) }
        try await house.promote("1")
        for number in 0..<4 { _ = try await house.upload("app", .droplet("number \(number)")) }
        for repository in [try house.app(try DropletGUID("app")), try house.bases()] {
            let all = try await repository.tags(after: nil, limit: 100) ?? []
            #expect(all == all.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
            for limit in 1...5 {
                for start in [nil, "", "5", "current"] + all + all.map({ $0 + "-" }) {
                    let rest = all.filter { tag in
                        start.map { $0.utf8.lexicographicallyPrecedes(tag.utf8) } ?? true
                    }
                    let page = try await repository.tags(after: start, limit: limit)
                    #expect(page == Array(rest.prefix(limit)), "\(limit) after \(start ?? "nothing")")
                }
            }
        }
    }

    @Test("the SHA-1 that older controllers use names the same image")
    func alias() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1")
        try await house.promote("1")
        let droplet = try await house.upload("app", .droplet("hello"))
        #expect(droplet.sha1.utf8.count == 40)
        #expect(try await house.image("app", droplet.sha1) == (try await house.image("app", droplet.hash)))
    }

    @Test("an app's repository shows nothing of another app's")
    func separation() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1")
        try await house.promote("1")
        let mine = try await house.upload("mine", .droplet("mine"))
        let theirs = try await house.upload("theirs", .droplet("theirs"))
        let theirImage = try await house.image("theirs", theirs.hash)
        let guid = try DropletGUID("mine")
        #expect(try await house.image(guid, theirImage.manifestDigest) == nil)
        #expect(try await house.app(guid).content(theirImage.configDigest) == nil)
        #expect(try await house.app(guid).content(theirs.content.layers[0].digest) == nil)
        #expect(try await house.app(guid).content(theirs.content.digest) == nil)
        await #expect(throws: ImageError.self) { try await house.image("mine", theirs.hash) }
        #expect(try await house.app(guid).content(mine.content.layers[0].digest) != nil)
    }

    @Test("an unknown digest is refused, and found once it exists")
    func unknownDigest() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1")
        try await house.promote("1")
        let first = try await house.upload("app", .droplet("1"))
        _ = try await house.image("app", first.hash)
        let other = try await TestHouse()
        try await other.importRootfs("1")
        try await other.promote("1")
        let second = try await other.upload("app", .droplet("2"))
        let image = try await other.image("app", second.hash)
        let guid = try DropletGUID("app")
        #expect(try await house.image(guid, image.manifestDigest) == nil)
        try await house.upload("app", .droplet("2"))
        #expect(try await house.image(guid, image.manifestDigest) == image.served)
    }

    @Test("a removed droplet is gone at once")
    func removal() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1")
        try await house.promote("1")
        let droplet = try await house.upload("app", .droplet("hello"))
        let image = try await house.image("app", droplet.hash)
        try await house.droplets.remove(try DropletGUID("app"), .sha256(droplet.hash))
        await #expect(throws: ImageError.self) { try await house.image("app", droplet.hash) }
        #expect(try await house.image(try DropletGUID("app"), image.manifestDigest) == nil)
    }

    @Test("before anything is promoted the refusal says what to do")
    func nothingPromoted() async throws {
        let house = try await TestHouse()
        let droplet = try await house.upload("app", .droplet("hello"))
        do {
            _ = try await house.image("app", droplet.hash)
            Issue.record("there was an image without a rootfs")
        } catch let error as ImageError {
            #expect("\(error)".contains("import a rootfs"))
        }
        try await house.importRootfs("1")
        do {
            _ = try await house.image("app", droplet.hash)
            Issue.record("there was an image without a promoted rootfs")
        } catch let error as ImageError {
            #expect("\(error)".contains("promote one first"))
        }
    }

    @Test("a hundred who pull at once, while others promote, each get a whole image of one of the versions")
    func concurrency() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1")
        try await house.importRootfs("2")
        try await house.promote("1")
        let droplet = try await house.upload("app", .droplet("hello"))
        var allowed: Set<Digest> = []
        for version in ["1", "2"] {
            allowed.insert(try await house.image("app", "\(droplet.hash)-\(version)").manifestDigest)
        }
        let pulled = try await withThrowingTaskGroup(of: Digest?.self) { group in
            for number in 0..<100 {
                group.addTask {
                    if number % 10 == 0 { try await house.promote(number % 20 == 0 ? "1" : "2") }
                    return try await house.image("app", droplet.hash).manifestDigest
                }
            }
            return try await group.reduce(into: Set<Digest>()) { if let digest = $1 { $0.insert(digest) } }
        }
        #expect(pulled.isSubset(of: allowed))
    }

    private func layers(_ image: ComposedImage) throws -> [Descriptor] {
        try Manifest(json: JSONValue(parsing: image.manifest)).layers
    }
}
