import Images
import ImagesTesting
import ObjectStore
import Packages
import Rootfs
import TestSupport
import Testing

@Suite("Packages of rootfs versions")
struct RootfsPackagesTests {
    @Test("apk's database is found also where lib is a link", arguments: [false, true])
    func apk(isLinked: Bool) async throws {
        let house = try await TestHouse()
        let text = "P:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\n"
        let entries: [TestTar.Entry] =
            isLinked
            ? [.file("usr/lib/apk/db/installed", text), .symbolicLink("lib", to: "usr/lib")]
            : [.file("lib/apk/db/installed", text)]
        try await house.importRootfs("1", release: "ID=alpine\nVERSION_ID=3.20.1\n", entries)
        let list = try await house.packages("1")
        #expect(list.manager == .apk && list.words == ["musl 1.2.5-r0 x86_64"])
        #expect(list.distribution == Distribution(id: "alpine", version: "3.20.1"))
    }

    @Test("images without a package manager have a file for each package, in one folder")
    func folder() async throws {
        let house = try await TestHouse()
        let folder = "var/lib/dpkg/status.d/"
        try await house.importRootfs(
            "1",
            [
                .file(folder + "base", "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n"),
                .file(folder + "base.md5sums", "0123  etc/debian_version\n"),
                .file(folder + "tzdata", "Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n"),
                .file(folder + "deeper/other", "Package: other\nVersion: 1\nArchitecture: all\n"),
            ])
        let list = try await house.packages("1")
        #expect(list.words == ["base-files 12.4 amd64", "tzdata 2024a-0 all"] && list.manager == .dpkg)
        #expect(list.skipped == 0 && list.isComplete)
    }

    @Test("a database that is larger than what is read is said to be missing")
    func tooLarge() async throws {
        let house = try await TestHouse()
        let database = [UInt8](repeating: UInt8(ascii: "\n"), count: (16 << 20) + 1)
        try await house.importRootfs("1", [.bytes("lib/apk/db/installed", database)])
        let list = try await house.packages("1")
        #expect(list.manager == .apk && list.packages.isEmpty && !list.isComplete)
    }

    @Test("a list is there after a restart, is not read at the start, and goes with its version")
    func records() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1", release: DpkgStatus.debian, [DpkgStatus.file])
        try await house.importRootfs("2")
        try await house.promote("2")
        let list = try await house.packages("1")
        let again = try await TestHouse(store: house.store)
        #expect(try await again.packages("1") == list)

        let key = "rootfs/teststack/1/packages/amd64"
        #expect(try await house.visibleKeys().contains(key))
        try await house.store.put(try ObjectKey(key), Array("not a list".utf8), if: .always)
        let damaged = try await TestHouse(store: house.store)
        await #expect(throws: ImageError.self, "said when it is asked for, not at the start") {
            try await damaged.packages("1")
        }
        try await damaged.images.remove(try StackName("teststack"), try VersionName("1"))
        #expect(try await !house.visibleKeys().contains { $0.hasPrefix("rootfs/teststack/1") })
    }

    @Test("a version of an earlier Cistern has no list, and gets it with another import of its file")
    func older() async throws {
        let house = try await TestHouse()
        let imported = try await house.importRootfs("1", release: DpkgStatus.debian, [DpkgStatus.file])
        try await house.store.delete(try ObjectKey("rootfs/teststack/1/packages/amd64"), ifVersion: nil)
        let older = try await TestHouse(store: house.store)
        do {
            _ = try await older.packages("1")
            Issue.record("nothing is recorded")
        } catch ImageError.noPackages {}
        #expect(try await older.importRootfs("1", release: DpkgStatus.debian, [DpkgStatus.file]) == imported)
        #expect(try await older.packages("1").packages.count == 3)
    }

    @Test("an import that is refused changes no list, and what a crash left is replaced")
    func refused() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1", release: DpkgStatus.debian, [DpkgStatus.file])
        let list = try await house.packages("1")
        await #expect(throws: ImageError.self) { try await house.importRootfs("1", content: "other") }
        for house in [house, try await TestHouse(store: house.store)] { #expect(try await house.packages("1") == list) }

        // As after a crash between the list and the version: the list of a file that nobody imported.
        let bytes = try await house.store.get(try ObjectKey("rootfs/teststack/1/packages/amd64")).bytes
        try await house.store.put(try ObjectKey("rootfs/teststack/3/packages/amd64"), bytes, if: .absent)
        let crashed = try await TestHouse(store: house.store)
        await #expect(throws: ImageError.self) { try await crashed.packages("3") }
        try await crashed.importRootfs("3")
        #expect(try await crashed.packages("3").manager == .none)
    }
}

extension TestHouse {
    func packages(_ version: String) async throws -> PackageList {
        try await rootfs.packages(try StackName(Self.stack), try VersionName(version), .amd64)
    }

    func changes(_ old: String, _ new: String) async throws -> PackageDiff {
        try await rootfs.packageChanges(
            try StackName(Self.stack), from: try VersionName(old), to: try VersionName(new), .amd64)
    }
}

extension PackageList {
    var words: [String] { packages.map { "\($0.name) \($0.version) \($0.architecture)" } }
}
