import Foundation
import Images
import JSON
import OCI
import ObjectStore
import Testing

@Suite("Package lists")
struct PackageListTests {
    @Test("dpkg's status is read: name, version, architecture and source package")
    func dpkg() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1", release: Status.debian, [Status.sample])
        let list = try await house.packages("1")
        #expect(list.manager == .dpkg && list.distribution == Distribution(id: "debian", version: "12"))
        #expect(list.skipped == 0 && list.isComplete)
        #expect(
            list.words == ["adduser 3.134 all", "libc6 2.36-9+deb12u10 amd64", "libstdc++6 12.2.0-14+deb12u1 amd64"])
        #expect(list.packages.map(\.source) == ["adduser", "glibc", "gcc-12"])
        #expect(list.packages.map(\.sourceVersion) == ["3.134", "2.36-9+deb12u10", "12.2.0-14"])
    }

    @Test("what is removed but for its configuration is no package, what is unpacked is one")
    func states() async throws {
        let house = try await TestHouse()
        func with(_ state: String) -> String {
            "Package: p-\(state)\nStatus: install ok \(state)\nVersion: 1\nArchitecture: all\n"
        }
        let states = ["installed", "unpacked", "triggers-pending", "config-files", "not-installed", "half-installed"]
        try await house.importRootfs("1", [.file(Status.path, states.map(with).joined(separator: "\n"))])
        let list = try await house.packages("1")
        #expect(list.packages.map(\.name) == ["p-installed", "p-triggers-pending", "p-unpacked"])
        #expect(list.skipped == 0)
    }

    @Test("images without a package manager have a file for each package")
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

    @Test("apk's database is read with its licences, also where lib is a link", arguments: [false, true])
    func apk(isLinked: Bool) async throws {
        let house = try await TestHouse()
        let text = """
            C:Q1abc=
            P:musl
            V:1.2.5-r0
            A:x86_64
            L:MIT
            o:musl
            F:lib
            R:ld-musl-x86_64.so.1
            a:0:0:755

            P:libcrypto3
            V:3.3.1-r3
            A:x86_64
            L:Apache-2.0
            o:openssl
            """
        let entries: [TestTar.Entry] =
            isLinked
            ? [.file("usr/lib/apk/db/installed", text), .symbolicLink("lib", to: "usr/lib")]
            : [.file("lib/apk/db/installed", text)]
        try await house.importRootfs("1", release: "ID=alpine\nVERSION_ID=3.20.1\n", entries)
        let list = try await house.packages("1")
        #expect(list.manager == .apk && list.words == ["libcrypto3 3.3.1-r3 x86_64", "musl 1.2.5-r0 x86_64"])
        #expect(list.packages.map(\.license) == ["Apache-2.0", "MIT"])
        #expect(list.packages.map(\.source) == ["openssl", "musl"] && list.skipped == 0)
    }

    @Test("a rootfs without a package database has an empty list")
    func nothing() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1")
        let list = try await house.packages("1")
        #expect(list.manager == .none && list.packages.isEmpty && list.distribution.id == "linux")
    }

    /// What comes between two good stanzas, and how many entries are skipped for it.
    static let stanzas: [(String, [UInt8], Int)] = [
        ("a line of 10 MB in a field that nobody reads", long("Description: "), 1),
        ("a version of 10 MB", long("Package: evil\nArchitecture: all\nVersion: "), 1),
        ("a line of 10 MB without a colon", long(""), 1),
        ("a NUL in a name", Array("Package: ev\0il\nVersion: 1\nArchitecture: all\n".utf8), 1),
        ("NULs alone", [UInt8](repeating: 0, count: 4096), 1),
        ("a name that is no UTF-8", Array("Package: ev".utf8) + [0xFF, 0xC0] + tail, 1),
        ("a version that is no UTF-8", Array("Package: evil\nArchitecture: all\nVersion: 1".utf8) + [0xFE], 1),
        ("a description that is no UTF-8", Array("Package: a-good-one".utf8) + tail + [0x0A, 0x44, 0x3A, 0xFF], 0),
        ("no version", Array("Package: evil\nArchitecture: all\n".utf8), 1),
        ("an empty version", Array("Package: evil\nArchitecture: all\nVersion:\n".utf8), 1),
        ("no architecture", Array("Package: evil\nVersion: 1\n".utf8), 1),
        ("two versions", Array("Package: evil\nVersion: 1\nVersion: 2\nArchitecture: all\n".utf8), 1),
        ("a name of a package before", Array("Package: first\nVersion: 2\nArchitecture: amd64\n".utf8), 1),
        ("that name of another architecture", Array("Package: first\nVersion: 1\nArchitecture: i386\n".utf8), 0),
        ("a name that would be a path", Array("Package: ../../etc\nVersion: 1\nArchitecture: all\n".utf8), 1),
        ("a name that colours a terminal", Array("Package: a\u{1B}[31m\nVersion: 1\nArchitecture: all\n".utf8), 1),
        ("a version with quotes", Array("Package: evil\nVersion: 1\"}]\nArchitecture: all\n".utf8), 1),
        ("a source that is none", Array("Package: evil\nVersion: 1\nArchitecture: all\nSource: a (b\n".utf8), 1),
        ("only a continuation", Array(" and so on\n".utf8), 1),
    ]
    private static let tail = Array("\nVersion: 1\nArchitecture: all".utf8)

    private static func long(_ start: String) -> [UInt8] {
        Array(start.utf8) + [UInt8](repeating: UInt8(ascii: "x"), count: 10 << 20)
    }

    @Test("a stanza that makes no sense is skipped and counted, and the others are there", arguments: stanzas.indices)
    func hostile(_ index: Int) async throws {
        let (what, stanza, skipped) = Self.stanzas[index]
        let first = Array((Status.stanza("first", "1") + "\n").utf8)
        let last = Array(("\n\n" + Status.stanza("last", "1~rc1")).utf8)
        let house = try await TestHouse()
        try await house.importRootfs("1", release: Status.debian, [.bytes(Status.path, first + stanza + last)])
        let list = try await house.packages("1")
        #expect(list.skipped == skipped, "\(what)")
        #expect(list.words.contains("first 1 amd64") && list.words.contains("last 1~rc1 amd64"), "\(what)")
        #expect(list.packages.count == 3 - skipped, "\(what)")
        #expect(!list.packages.contains { $0.name.hasPrefix("evil") }, "\(what)")
    }

    @Test(
        "of os-release only identifiers are taken",
        arguments: [
            ("ID=debian\nVERSION_ID=\"12\"\n", "debian", "12"), ("ID='alpine'\n", "alpine", ""),
            ("ID=\"$(reboot)\"\nVERSION_ID=1 2\n", "linux", ""), ("", "linux", ""),
            ("ID=a\nID=b\nVERSION_ID=\u{0}\n", "b", ""), ("ID=de/bian\nVERSION_ID=12?x=y\n", "linux", ""),
            ("ID=\"\"\nVERSION_ID=\"\n", "linux", ""), ("#ID=x\n ID=y\nIDX=z\n", "linux", ""),
            ("ID=" + String(repeating: "a", count: 65), "linux", ""),
            ("ID=ubuntu\r\nVERSION_ID=24.04\n", "linux", "24.04"),
        ])
    func release(_ text: String, _ id: String, _ version: String) async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1", release: text, [Status.sample])
        #expect(try await house.packages("1").distribution == Distribution(id: id, version: version))
    }

    @Test("more packages than are listed, and the list says so")
    func tooMany() async throws {
        let house = try await TestHouse()
        let text = (0..<50_010).map { "Package: p\($0)\nVersion: 1\nArchitecture: all\n" }.joined(separator: "\n")
        try await house.importRootfs("1", [.file(Status.path, text)])
        let list = try await house.packages("1")
        #expect(list.packages.count == 50_000 && !list.isComplete)
    }

    // Records.

    @Test("a list is there after a restart, is not read at the start, and goes with its version")
    func records() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1", release: Status.debian, [Status.sample])
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
        let imported = try await house.importRootfs("1", release: Status.debian, [Status.sample])
        try await house.store.delete(try ObjectKey("rootfs/teststack/1/packages/amd64"), ifVersion: nil)
        let older = try await TestHouse(store: house.store)
        do {
            _ = try await older.packages("1")
            Issue.record("nothing is recorded")
        } catch ImageError.noPackages {}
        #expect(try await older.importRootfs("1", release: Status.debian, [Status.sample]) == imported)
        #expect(try await older.packages("1").packages.count == 3)
    }

    @Test("an import that is refused changes no list, and what a crash left is replaced")
    func refused() async throws {
        let house = try await TestHouse()
        try await house.importRootfs("1", release: Status.debian, [Status.sample])
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
