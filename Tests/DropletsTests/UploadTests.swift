import Archive
import Blobs
import Droplets
import Images
import ImagesTesting
import Layers
import OCI
import ObjectStore
import Rootfs
import TestSupport
import Testing

@Suite("Droplet uploads")
struct UploadTests {
    @Test("the uploaded bytes come back as they were")
    func original() async throws {
        let house = try await TestHouse()
        let tar = TestTar.droplet("hello")
        let record = try await house.upload("app", tar, checksum: .digest(Digest.of(tar.bytes)))
        #expect(record.content.digest == Digest.of(tar.bytes))
        let blob = try await house.droplets.original(record)
        #expect(try await blob.reader.read(at: 0, maximum: 1 << 20) == tar.bytes)
        await blob.reader.close()
    }

    @Test(
        "a wrong checksum stores nothing",
        arguments: [
            Checksum.digest(Digest.of([])), .sha1(String(repeating: "0", count: 40)),
        ])
    func wrongChecksum(_ checksum: Checksum) async throws {
        let house = try await TestHouse()
        let before = try await house.store.list(prefix: "", startAfter: nil, limit: 1000).map(\.key)
        await #expect(throws: ImageError.self) { try await house.upload("app", .droplet("x"), checksum: checksum) }
        #expect(try await house.store.list(prefix: "", startAfter: nil, limit: 1000).map(\.key) == before)
    }

    @Test("a sender that goes away leaves nothing", arguments: [0, 1, 700, 2500])
    func brokenSender(_ end: Int) async throws {
        let house = try await TestHouse()
        let before = try await house.store.list(prefix: "", startAfter: nil, limit: 1000).map(\.key)
        await #expect(throws: ImageError.self) {
            try await house.droplets.upload(
                DropletUpload(
                    guid: try DropletGUID("app"), stack: try StackName("s"), architecture: .amd64, checksum: nil,
                    layout: DropletLayout(), limits: ConversionLimits(), by: "tester"),
                from: Chunks(TestTar.droplet("x").bytes, breaksAt: end), logger: TestHouse.logger)
        }
        #expect(try await house.store.list(prefix: "", startAfter: nil, limit: 1000).map(\.key) == before)
    }

    @Test("a droplet that can't be converted stores nothing and says which entry")
    func rejected() async throws {
        let house = try await TestHouse()
        let before = try await house.store.list(prefix: "", startAfter: nil, limit: 1000).map(\.key)
        do {
            try await house.upload("app", TestTar([.file("./app/a", "x"), .fifo("./app/pipe")]))
            Issue.record("a fifo was taken")
        } catch let error as ImageError {
            #expect("\(error)".contains("app/pipe"))
        }
        #expect(try await house.store.list(prefix: "", startAfter: nil, limit: 1000).map(\.key) == before)
    }

    @Test("the same droplet of two apps shares all bytes")
    func sharing() async throws {
        let house = try await TestHouse()
        let first = try await house.upload("one", .droplet("same"))
        let data = try await house.store.list(prefix: "data/", startAfter: nil, limit: 1000).map(\.key)
        let checksum = Checksum.digest(first.content.digest)
        let second = try await house.upload("two", .droplet("same"), checksum: checksum)
        let third = try await house.upload("three", .droplet("same"))
        #expect(second.content == first.content)
        #expect(third.content == first.content)
        #expect(try await house.store.list(prefix: "data/", startAfter: nil, limit: 1000).map(\.key) == data)
    }

    @Test("the same droplet with a wrong checksum is refused even where it is known")
    func knownButWrong() async throws {
        let house = try await TestHouse()
        let first = try await house.upload("one", .droplet("same"))
        await #expect(throws: ImageError.self) {
            try await house.upload("two", .droplet("other"), checksum: .digest(first.content.digest))
        }
        #expect(try await house.droplets.droplets(of: try DropletGUID("two")).isEmpty)
    }

    @Test("a record stays as it was first written, whatever mode a later upload asks for")
    func fixedRecord() async throws {
        let house = try await TestHouse()
        let tar = TestTar([.directory("./app"), .directory("./deps"), .directory("./deps/0"), .file("./deps/0/x", "y")])
        let first = try await house.upload("app", tar)
        let second = try await house.upload("app", tar, mode: .split)
        #expect(first.mode == .single)
        #expect(second == first)
        let other = try await house.upload("other", tar, mode: .split)
        #expect(other.mode == .split)
        #expect(other.content.layers.count == 2)
    }

    @Test("the same droplet for another stack or architecture is refused, and the one that is there stays")
    func otherBase() async throws {
        let house = try await TestHouse()
        let tar = TestTar.droplet("hello")
        let first = try await house.upload("app", tar)
        for checksum in [nil, .digest(first.content.digest), .sha1(first.sha1)] as [Checksum?] {
            let error = await #expect(throws: ImageError.self) {
                try await house.upload("app", tar, checksum: checksum, architecture: .arm64)
            }
            guard case .otherBase("app", first.hash, first.stack, .amd64)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(
                try await house.upload("app", tar, checksum: checksum, architecture: .arm64, stated: .nothing) == first)
        }
        #expect(try await house.droplets.droplets(of: first.guid) == [first])
        let other = try await house.upload("other", tar, architecture: .arm64)
        #expect(other.architecture == .arm64 && other.content == first.content)
        let hash = DropletHash.sha256(first.hash)
        await #expect(throws: ImageError.self) {
            try await house.droplets.copy(
                first.guid, hash, to: other.guid, of: .unknown, checksum: .digest(first.content.digest), by: "tester")
        }
        await #expect(throws: ImageError.self) {
            try await house.droplets.copy(
                first.guid, hash, to: try DropletGUID("third"), of: .unknown, checksum: .digest(first.content.digest),
                by: "tester", stated: StatedBase(stack: nil, architecture: .arm64))
        }
        #expect(try await house.droplets.droplets(of: other.guid) == [other])
    }

    @Test("a file that comes twice is the later one, also where the droplet can't be split", arguments: [false, true])
    func twice(_ crosses: Bool) async throws {
        let house = try await TestHouse()
        let link: [TestTar.Entry] = crosses ? [.hardLink("./app/x", to: "./deps/0/x")] : []
        let rest: [TestTar.Entry] =
            [.directory("./deps"), .directory("./deps/0"), .file("./deps/0/x", "y"), .file("app/a", "new")] + link
        let twice = TestTar([.directory("./app"), .file("./app/a", "old")] + rest)
        let record = try await house.upload("app", twice, mode: .split)
        #expect(record.mode == (crosses ? .single : .split))
        // The layers are those of a droplet that never had the earlier file.
        let plain = try await house.upload("plain", TestTar([.directory("./app")] + rest), mode: .split)
        #expect(record.content.layers == plain.content.layers)
        #expect(record.content.digest != plain.content.digest)
    }

    @Test("a level is part of what a conversion is known by, and a record keeps the one it has")
    func levels() async throws {
        let house = try await TestHouse()
        let tar = TestTar.droplet("hello")
        let checksum = Checksum.digest(Digest.of(tar.bytes))
        let fast = try await house.upload("fast", tar, checksum: checksum)
        let small = try await house.upload("small", tar, checksum: checksum, level: .small)
        #expect([fast.level, small.level] == [.fast, .small])
        #expect(fast.content.layers.map(\.diffID) == small.content.layers.map(\.diffID))
        #expect(fast.content.layers.map(\.digest) != small.content.layers.map(\.digest))
        #expect(try await house.upload("small", tar, checksum: checksum) == small)
        #expect(try await house.upload("fast", tar, checksum: checksum, level: .small) == fast)
        #expect(try await house.upload("other", tar, checksum: checksum).content == fast.content)
        #expect(try await house.upload("more", tar, checksum: checksum, level: .small).content == small.content)
    }

    @Test("a record keeps what its first upload stated, and what is known of the conversion has none of it")
    func stated() async throws {
        let house = try await TestHouse()
        let buildpack = try #require(StagedBuildpack(name: "go", version: "1.2", source: "git:" + Digest.of([]).hex))
        let owner = try DropletOwner(org: "Acme Inc.", space: "Büro")
        let first = try await house.upload("app", .droplet("x"), staged: [buildpack, buildpack], owner: owner)
        #expect(first.content.staged == [buildpack, buildpack] && first.owner == owner)
        #expect(
            try await house.upload("app", .droplet("x"), owner: try DropletOwner(org: "other", space: nil)) == first)
        let other = try await house.upload("other", .droplet("x"))
        #expect(other.content.staged.isEmpty && other.owner == .unknown)
        let restarted = try await TestHouse(store: house.store)
        #expect(try await restarted.droplets.droplets(of: first.guid) == [first])
        #expect(try await restarted.droplets.droplets(of: other.guid) == [other])
    }

    @Test("a hard link across groups sends a split droplet back to one layer")
    func fallback() async throws {
        let house = try await TestHouse()
        let tar = TestTar([
            .directory("./app"), .directory("./deps"), .directory("./deps/0"), .file("./deps/0/x", "y"),
            .hardLink("./app/x", to: "./deps/0/x"), .file("./app/z", "after"),
        ])
        let split = try await house.upload("app", tar, mode: .split)
        let single = try await house.upload("other", tar, mode: .single)
        #expect(split.mode == .single)
        #expect(split.content == single.content)
    }

    @Test("what is known of a conversion goes with the last app that has the droplet")
    func conversions() async throws {
        let house = try await TestHouse()
        let before = try await house.visibleKeys()
        let (one, two) = (try await house.upload("one", .droplet("x")), try await house.upload("two", .droplet("x")))
        try await house.upload("two", .droplet("x"), mode: .split)
        try await house.droplets.remove(one.guid, .sha256(one.hash))
        let kept = two.hash
        #expect(try await house.droplets.forgetConversions { $0 == kept } == 0)
        try await house.droplets.remove(two.guid, .sha256(two.hash))
        #expect(try await house.droplets.forgetConversions { _ in false } > 0)
        #expect(try await house.visibleKeys() == before)
        #expect(try await house.upload("three", .droplet("x")).content == one.content)
    }
}
