import Blobs
import ImagesTesting
import Layers
import ObjectStore
import Rootfs
import TestSupport
import Testing

@Suite("What builds run in", .timeLimit(.minutes(5)))
struct BuildRootfsTests {
    @Test("has a list of its own beside the run rootfs, and is there after a restart")
    func list() async throws {
        let house = try await TestHouse()
        func catalog() async throws -> BuildRootfsCatalog {
            try await BuildRootfsCatalog(store: house.store, blobs: house.blobs, now: { 1 })
        }
        let (stack, one) = (try StackName(TestHouse.stack), try VersionName("1"))
        let builds = try await catalog()
        #expect(builds.versions(stack).isEmpty)
        #expect(throws: ImageError.self) { try builds.version(stack, one, .amd64) }
        let run = try await house.importRootfs("1")
        let imported = try await house.importBuildRootfs("1", into: builds)
        #expect(run.layers != imported.layers)
        // The same again changes nothing; another one under the same name is refused.
        #expect(try await house.importBuildRootfs("1", into: builds) == imported)
        await #expect(throws: ImageError.self) {
            try await house.importBuildRootfs("1", content: "others", into: builds)
        }
        let later = try await catalog()
        #expect(later.all == [imported] && later.versions(stack) == [imported])
        #expect(try later.version(stack, one, .amd64) == imported)
        #expect(throws: ImageError.self) { try later.version(stack, one, .arm64) }
        let file = try await later.open(imported)
        #expect(file.blob.digest == imported.layers.first?.digest)
        await file.reader.close()
        #expect(try house.rootfs.versions(stack) == [run])

        try await later.remove(stack, one)
        await #expect(throws: ImageError.self) { try await later.remove(stack, one) }
        #expect(try await catalog().all.isEmpty)
        #expect(try house.rootfs.versions(stack) == [run])
    }
}
