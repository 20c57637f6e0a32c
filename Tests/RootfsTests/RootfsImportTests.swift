import Archive
import Blobs
import Images
import ImagesTesting
import Layers
import OCI
import ObjectStore
import Rootfs
import TestSupport
import Testing

@Suite("Rootfs imports")
struct RootfsImportTests {
    @Test("a version's name keeps its content for ever")
    func immutableRootfs() async throws {
        let house = try await TestHouse()
        let first = try await house.importRootfs("1", content: "a")
        #expect(first.system == "Test 1")
        #expect(try await house.importRootfs("1", content: "a") == first)
        await #expect(throws: ImageError.self) { try await house.importRootfs("1", content: "b") }
        #expect(try house.rootfs.versions(try StackName(TestHouse.stack)) == [first])
    }

    @Test("no stack is called current, which stands for what is promoted, and no version neither")
    func reserved() async throws {
        let house = try await TestHouse()
        let request = RootfsImport(
            stack: try StackName("current"), version: try VersionName("1"), architecture: .amd64, checksum: nil,
            shell: "/bin/bash", compression: .gzip, limits: ConversionLimits(), by: "tester")
        let error = await #expect(throws: ImageError.self) {
            try await house.rootfs.importRootfs(request, from: Chunks(TestRootfs().tar.bytes), logger: TestHouse.logger)
        }
        #expect(error?.description == "'current' is not a valid stack")
        #expect(throws: ImageError.self) { try VersionName("current") }
    }

    @Test("a rootfs with a wrong checksum or without its shell is refused and leaves nothing")
    func badRootfs() async throws {
        let house = try await TestHouse()
        let before = try await house.visibleKeys()
        await #expect(throws: ImageError.self) {
            try await house.importRootfs("1", checksum: .digest(Digest.of([])))
        }
        await #expect(throws: ImageError.self) {
            try await house.rootfs.importRootfs(
                RootfsImport(
                    stack: try StackName("s"), version: try VersionName("1"), architecture: .amd64, checksum: nil,
                    shell: "/bin/bash", compression: .gzip, limits: ConversionLimits(), by: "tester"),
                from: Chunks(TestTar([.file("etc", "no shell here")]).bytes), logger: TestHouse.logger)
        }
        #expect(try await house.visibleKeys() == before)
    }
}
