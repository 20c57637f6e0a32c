import Blobs
import OCI
import ObjectStore
import Testing

@Suite("Content by digest")
struct BlobStoreTests {
    @Test("What was written in pieces, or put whole, is read again byte by byte", arguments: BlobWorld.sizes)
    func comesBack(size: Int) async throws {
        let world = BlobWorld()
        let (written, put) = (BlobWorld.content(size), BlobWorld.content(size, 1) + [1])
        let digest = try await world.write(written)
        let whole = try await world.blobs.put(put)
        for (digest, bytes) in [(digest, written), (whole.digest, put)] {
            #expect(digest == Digest.of(bytes))
            #expect(try await world.blobs.find(digest)?.size == Int64(bytes.count))
            #expect(try await world.blobs.read(digest, maximum: 200_000) == bytes)
            #expect(try await world.opened(digest) == bytes)
            #expect(try await world.blobs.check(digest, in: world.store) { _ in } == .whole(bytes: Int64(bytes.count)))
        }
        await #expect(throws: BlobError.damaged(digest)) { try await world.blobs.read(digest, maximum: size - 1) }
    }

    @Test("The same content twice is kept once, and is relied on from the second time on", arguments: BlobWorld.sizes)
    func once(size: Int) async throws {
        let world = BlobWorld()
        let bytes = BlobWorld.content(size)
        let digest = try await world.write(bytes)
        let keys = try await world.keys()
        world.pass(3601)
        try await world.write(bytes)
        _ = try await world.blobs.put(bytes)
        #expect(try await world.keys() == keys)
        #expect(try await world.retire(digest) == .kept)
        #expect(try await world.opened(digest) == bytes)
    }

    @Test("What was not published, or was given up, is no blob and leaves nothing", arguments: BlobWorld.sizes)
    func unpublished(size: Int) async throws {
        let world = BlobWorld()
        let bytes = BlobWorld.content(size)
        let given = world.blobs.begin()
        try await given.write(bytes)
        await given.abort()
        let dropped = world.blobs.begin()
        try await dropped.write(bytes)
        let staged = try await dropped.finish()
        #expect(try await staged.digest(.sha256) == Digest.of(bytes))
        #expect(try await world.blobs.find(Digest.of(bytes)) == nil)
        await staged.discard()
        #expect(try await world.keys() == [])
        await #expect(throws: BlobError.missing(Digest.of(bytes))) { try await world.blobs.open(Digest.of(bytes)) }
    }

    @Test("Several are committed together, or none of them is there")
    func commit() async throws {
        let world = BlobWorld()
        let contents = [BlobWorld.content(10), BlobWorld.content(5000), BlobWorld.content(6000, 1)]
        func written() async throws -> [(writer: BlobWriter, digest: Digest)] {
            var written: [(writer: BlobWriter, digest: Digest)] = []
            for bytes in contents {
                let writer = world.blobs.begin()
                try await writer.write(bytes)
                written.append((writer, Digest.of(bytes)))
            }
            return written
        }
        try await world.blobs.commit(try await written())
        for bytes in contents { #expect(try await world.opened(Digest.of(bytes)) == bytes) }

        let failing = InstrumentedObjectStore(MemoryObjectStore()) { (operation, key) throws(ObjectStoreError) in
            if operation == .finish { throw .full }
        }
        let blobs = BlobStore(store: failing, now: { 1 })
        let small = blobs.begin()
        let large = blobs.begin()
        try await small.write(contents[0])
        try await large.write(contents[1])
        await #expect(throws: BlobError.store(.full)) {
            try await blobs.commit([(small, Digest.of(contents[0])), (large, Digest.of(contents[1]))])
        }
        for bytes in contents { #expect(try await blobs.find(Digest.of(bytes)) == nil) }
    }

    @Test("Bytes that are gone, cut or longer are never served as the blob", arguments: ["gone", "cut", "longer"])
    func damage(kind: String) async throws {
        let world = BlobWorld()
        let bytes = BlobWorld.content(5000)
        let digest = try await world.write(bytes)
        let key = try ObjectKey(try #require(try await world.keys("data/").first))
        switch kind {
        case "gone": try await world.store.delete(key, ifVersion: nil)
        case "cut": try await world.store.put(key, Array(bytes.dropLast()), if: .always)
        default: try await world.store.put(key, bytes + [0], if: .always)
        }
        await #expect(throws: BlobError.damaged(digest)) { try await world.blobs.open(digest) }
        await #expect(throws: BlobError.damaged(digest)) { try await world.blobs.read(digest, maximum: 10_000) }
        guard case .damaged = try await world.blobs.check(digest, in: world.store, pace: { _ in }) else {
            Issue.record("a check finds it whole")
            return
        }
        #expect(try await world.blobs.renew(digest) == nil, "nobody may rely on it")
        try await world.write(bytes)
        #expect(try await world.opened(digest) == bytes, "pushed again, it is whole")
    }

    @Test(
        "Other bytes of the same length are found by a check, and nobody gets what is quarantined",
        arguments: [10, 5000])
    func quarantine(size: Int) async throws {
        let world = BlobWorld()
        let bytes = BlobWorld.content(size)
        // Whoever publishes has hashed: here somebody lied.
        let digest = try await world.write(BlobWorld.content(size, 1), as: Digest.of(bytes))
        guard case .damaged(let reason) = try await world.blobs.check(digest, in: world.store, pace: { _ in }) else {
            Issue.record("a check finds it whole")
            return
        }
        #expect(reason.contains("digest"))
        #expect(try await world.blobs.quarantine(digest))
        #expect(await world.blobs.isQuarantined(digest))
        #expect(try await world.blobs.check(digest, in: world.store) { _ in } == .quarantined)
        #expect(try await world.blobs.find(digest) == nil)
        #expect(try await world.blobs.renewIfOld(digest) == nil)
        await #expect(throws: BlobError.missing(digest)) { try await world.blobs.open(digest) }
        try await world.write(bytes)
        #expect(await !world.blobs.isQuarantined(digest))
        #expect(try await world.opened(digest) == bytes)
    }

    @Test(
        "Rotten bytes are not read by whoever did not write them, and are quarantined", arguments: BlobWorld.sizes[1...]
    )
    func rotten(size: Int) async throws {
        let world = BlobWorld()
        let bytes = BlobWorld.content(size)
        let digest = try await world.write(bytes)
        let name = try await world.blobs.bytesName(of: digest, in: world.store)
        let record = try #require(try await world.keys("blobs/").first)
        let key = try ObjectKey(name.map { "data/\($0)" } ?? record)
        var stored = try await world.store.get(key).bytes
        stored[stored.count - 1] ^= 1
        try await world.store.put(key, stored, if: .always)
        for read in [BlobRead.whole, .inPieces] {
            let started = BlobStore(store: world.store, now: { world.now }, grace: BlobWorld.grace)
            // Whoever asks only whether it is there does not have it read.
            try await started.open(digest, isRead: false).reader.close()
            await #expect(throws: BlobError.damaged(digest)) { try await read.read(digest, of: started) }
            await #expect(throws: BlobError.missing(digest)) { try await read.read(digest, of: started) }
            #expect(await started.isQuarantined(digest))
            // Pushed again it is whole, until it rots once more.
            try await world.write(bytes)
            #expect(try await world.opened(digest) == bytes)
            let next = try await world.blobs.bytesName(of: digest, in: world.store)
            let again = try next.map { try ObjectKey("data/\($0)") } ?? key
            try await world.store.put(again, stored, if: .always)
        }
    }

    private enum BlobRead {
        case whole, inPieces

        func read(_ digest: Digest, of blobs: BlobStore) async throws {
            switch self {
            case .whole: _ = try await blobs.read(digest, maximum: 1 << 20)
            case .inPieces: try await blobs.open(digest).reader.close()
            }
        }
    }

    @Test("Bytes that no record names are found once they are old enough, and can be deleted")
    func orphans() async throws {
        let world = BlobWorld()
        let named = try await world.write(BlobWorld.content(5000))
        let writer = world.blobs.begin()
        try await writer.write(BlobWorld.content(6000))
        _ = try await writer.finish()
        let name = try #require(try await world.blobs.bytesName(of: named, in: world.store))
        func found(before: Int64) async throws -> [(name: String, size: Int64)] {
            try await BlobStore.orphans(in: world.store, after: nil, limit: 10, before: before) { $0 == name }.orphans
        }
        #expect(try await found(before: world.now).isEmpty)
        world.pass(1)
        let orphans = try await found(before: world.now)
        #expect(orphans.map(\.size) == [6000])
        for orphan in orphans { try await world.blobs.deleteOrphan(orphan.name) }
        #expect(try await found(before: world.now).isEmpty)
        #expect(try await world.opened(named) == BlobWorld.content(5000))
    }
}
