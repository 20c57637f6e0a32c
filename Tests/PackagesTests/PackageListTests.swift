import Packages
import TestSupport
import Testing

@Suite("Package lists")
struct PackageListTests {
    @Test("dpkg's status is read: name, version, architecture and source package")
    func dpkg() {
        let list = list([DpkgStatus.path: DpkgStatus.sample, "etc/os-release": DpkgStatus.debian])
        #expect(list.manager == .dpkg && list.distribution == Distribution(id: "debian", version: "12"))
        #expect(list.skipped == 0 && list.isComplete)
        #expect(
            list.words == ["adduser 3.134 all", "libc6 2.36-9+deb12u10 amd64", "libstdc++6 12.2.0-14+deb12u1 amd64"])
        #expect(list.packages.map(\.source) == ["adduser", "glibc", "gcc-12"])
        #expect(list.packages.map(\.sourceVersion) == ["3.134", "2.36-9+deb12u10", "12.2.0-14"])
    }

    @Test("what is removed but for its configuration is no package, what is unpacked is one")
    func states() {
        func with(_ state: String) -> String {
            "Package: p-\(state)\nStatus: install ok \(state)\nVersion: 1\nArchitecture: all\n"
        }
        let states = ["installed", "unpacked", "triggers-pending", "config-files", "not-installed", "half-installed"]
        let list = list([DpkgStatus.path: states.map(with).joined(separator: "\n")])
        #expect(list.packages.map(\.name) == ["p-installed", "p-triggers-pending", "p-unpacked"])
        #expect(list.skipped == 0)
    }

    @Test("apk's database is read with its licences")
    func apk() {
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
        let list = list(["lib/apk/db/installed": text, "etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n"])
        #expect(list.manager == .apk && list.words == ["libcrypto3 3.3.1-r3 x86_64", "musl 1.2.5-r0 x86_64"])
        #expect(list.packages.map(\.license) == ["Apache-2.0", "MIT"])
        #expect(list.packages.map(\.source) == ["openssl", "musl"] && list.skipped == 0)
    }

    @Test("a rootfs without a package database has an empty list")
    func nothing() {
        let list = list([:])
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
    func hostile(_ index: Int) {
        let (what, stanza, skipped) = Self.stanzas[index]
        let first = Array((DpkgStatus.stanza("first", "1") + "\n").utf8)
        let last = Array(("\n\n" + DpkgStatus.stanza("last", "1~rc1")).utf8)
        let list = PackageList(files: [DpkgStatus.path: first + stanza + last])
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
    func release(_ text: String, _ id: String, _ version: String) {
        let list = list([DpkgStatus.path: DpkgStatus.sample, "etc/os-release": text])
        #expect(list.distribution == Distribution(id: id, version: version) && list.packages.count == 3)
    }

    @Test("more packages than are listed, and the list says so")
    func tooMany() {
        let text = (0..<50_010).map { "Package: p\($0)\nVersion: 1\nArchitecture: all\n" }.joined(separator: "\n")
        let list = list([DpkgStatus.path: text])
        #expect(list.packages.count == 50_000 && !list.isComplete)
    }

    private func list(_ files: [String: String]) -> PackageList {
        PackageList(files: files.mapValues { Array($0.utf8) })
    }
}

extension PackageList {
    var words: [String] { packages.map { "\($0.name) \($0.version) \($0.architecture)" } }
}
