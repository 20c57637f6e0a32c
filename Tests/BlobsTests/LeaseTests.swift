import Blobs
import OCI
import ObjectStore
import Testing

@Suite("Leases of content")
struct BlobLeaseTests {
    @Test("What nobody relied on for the grace period goes without a trace", arguments: BlobWorld.sizes)
    func retired(size: Int) async throws {
        let world = BlobWorld()
        let digest = try await world.write(BlobWorld.content(size))
        world.pass(3600)
        #expect(try await world.retire(digest) == .kept, "as old as the grace period, and not older")
        world.pass(1)
        #expect(try await world.retire(digest, dryRun: true) == .retired(bytes: Int64(size)))
        #expect(try await world.opened(digest).count == size, "a dry run takes nothing")
        #expect(try await world.retire(digest) == .retired(bytes: Int64(size)))
        #expect(try await world.retire(digest) == .missing)
        #expect(try await world.keys() == [])
    }

    @Test("A lease is renewed by whoever relies on the blob, and written only if it is older than a quarter")
    func renewed() async throws {
        let world = BlobWorld()
        let digest = try await world.write(BlobWorld.content(5000))
        let record = try await world.keys("blobs/")[0]
        func version() async throws -> ObjectVersion { try await world.store.head(try ObjectKey(record)).version }
        let first = try await version()
        world.pass(899)
        #expect(try await world.blobs.renewIfOld(digest)?.size == 5000)
        #expect(try await version() == first, "young enough")
        world.pass(1)
        #expect(try await world.blobs.renewIfOld(digest)?.size == 5000)
        #expect(try await version() != first)
        world.pass(3600)
        #expect(try await world.retire(digest) == .kept)
        #expect(try await world.blobs.renew(digest) != nil)
        world.pass(3600)
        #expect(try await world.retire(digest) == .kept)
        world.pass(1)
        #expect(try await world.retire(digest) == .retired(bytes: 5000))
        #expect(try await world.blobs.renewIfOld(digest) == nil)
    }

    @Test(
        "A lease that is renewed while the blob is being retired wins, or the blob is pushed anew",
        arguments: BlobWorld.sizes)
    func race(size: Int) async throws {
        let world = BlobWorld()
        let bytes = BlobWorld.content(size)
        for _ in 0..<20 {
            let digest = try await world.write(bytes)
            world.pass(3601)
            async let retired = world.retire(digest)
            async let alsoRetired = world.retire(digest)
            async let renewed = world.blobs.renew(digest)
            let outcomes = try await [retired, alsoRetired]
            let wasRetired = outcomes.contains(.retired(bytes: Int64(size)))
            #expect(try await (renewed != nil) != wasRetired, "\(outcomes)")
            #expect(try await (world.blobs.find(digest) != nil) != wasRetired)
            try await world.write(bytes)
            #expect(try await world.opened(digest) == bytes)
        }
    }
}
