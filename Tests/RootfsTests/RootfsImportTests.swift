import Archive
import Blobs
import Foundation
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

    @Test("a tar or an image may be compressed with xz or bzip2", arguments: ["xz", "bzip2"])
    func rareCompressions(_ program: String) async throws {
        let house = try await TestHouse()
        let tar = TestRootfs().tar.bytes
        let packed = try await withTemporaryDirectory { directory in
            try Data(tar).write(to: URL(fileURLWithPath: directory + "/tar"))
            return try await runSuccessfully(program, ["--stdout", directory + "/tar"]).stdout
        }
        let plain = try await house.take(tar, version: "1")
        let version = try await house.take(packed, version: "2")
        #expect(version.layers == plain.layers)
        #expect(version.source == Digest.of(packed) && version.sourceSize == packed.count)
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

    @Test("a new stack has a name under which its images can be pulled; one that is there already keeps its own")
    func unpullable() async throws {
        let house = try await TestHouse()
        for name in ["cflinuxfs4", "a", "1", "jammy-full", "a.b_c", "a__b", "a--b"] {
            try house.rootfs.requirePullable(try StackName(name))
        }
        for name in ["Tiny", "tinY", "a-", "a.", "a..b", "a._b", "a___b"] {
            let stack = try StackName(name)
            let error = #expect(throws: ImageError.self) { try house.rootfs.requirePullable(stack) }
            #expect(error?.description.hasPrefix("'\(name)' is not a valid name of a new stack: its images") == true)
            // What an earlier version took stays of use.
            let request = RootfsImport(
                stack: stack, version: try VersionName("1"), architecture: .amd64, checksum: nil,
                shell: "/bin/bash", compression: .gzip, limits: ConversionLimits(), by: "tester")
            _ = try await house.rootfs.importRootfs(
                request, from: Chunks(TestRootfs().tar.bytes), logger: TestHouse.logger)
            try house.rootfs.requirePullable(stack)
        }
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
