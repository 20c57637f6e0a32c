import Archive
import OCI
import Testing

@testable import Layers

@Suite("A root filesystem")
struct RootfsTests {
    static let tar = HandMadeTar.make { tar in
        tar.directory("./")
        tar.directory("./usr")
        tar.directory("./usr/bin")
        tar.directory("./usr/lib")
        tar.link("./bin", to: "usr/bin")
        tar.link("./loop", to: "loop")
        tar.link("./usr/bin/away", to: "../../../../nowhere")
        tar.link("./usr/bin/sh", to: "/bin/bash")
        tar.link("./etc-alias", to: "etc")
        tar.file("./etc/passwd", "vcap:x:2000:2000::/home/vcap:/bin/bash\n")
        tar.link("./etc/os-release", to: "../usr/lib/os-release")
        tar.file("./usr/lib/os-release", "ID=debian\n")
        tar.file("./var/lib/dpkg/status", String(repeating: "Package: x\n", count: 100))
        var sudo = HandMadeTar.Header("./usr/bin/sudo")
        sudo.mode = "0004755"
        tar.add(sudo, content: [1])
        tar.pax([
            ("SCHILY.xattr.security.capability", "\u{1}cap"), ("SCHILY.xattr.user.x", "y"), ("uid", "123456789"),
        ])
        tar.file("./usr/bin/bash", "bash")
        tar.add(HandMadeTar.Header("./dev/null", type: "3"))
        tar.hardLink("./dev/null2", to: "./dev/null")
        tar.add(HandMadeTar.Header("./run/pipe", type: "6"))
        tar.directory("./tmp", mode: "0001777")
    }

    @Test("keeps owners, setuid and sticky bits and file capabilities, and drops devices and other attributes")
    func kept() async throws {
        let sink = MemorySink()
        let converted = try await convertRootfs(Chunks(try compressed(Self.tar, .zstd)), sink: sink)
        let entries = try entries(of: decompressed(sink.bytes(converted.layer.stored)))
        func entry(_ name: String) -> TarEntry? { entries.first { $0.name == Array(name.utf8) } }
        #expect(entry("usr/bin/sudo")?.mode == 0o4755)
        #expect(entry("usr/bin/sudo")?.userID == 2000)
        #expect(entry("tmp/")?.mode == 0o1777)
        #expect(entry("usr/bin/bash")?.userID == 123_456_789)
        #expect(
            entry("usr/bin/bash")?.records == [
                TarRecord(key: "SCHILY.xattr.security.capability", value: Array("\u{1}cap".utf8))
            ])
        #expect(entries.allSatisfy { [.file, .directory, .symbolicLink].contains($0.kind) })
        #expect(entries.allSatisfy { !$0.name.starts(with: Array("./".utf8)) })
        #expect(entry("etc/")?.userID == 0)
        #expect(
            converted.summary.notes.totals == [.droppedNode: 3, .droppedAttribute: 1, .addedParent: 6])
    }

    @Test("tells which paths exist, links followed inside the tree, and gives small files")
    func findings() async throws {
        let watch = RootfsWatch(
            files: [
                "etc/os-release": 4096, "usr/lib/os-release": 4096, "/etc/passwd": 4096, "var/lib/dpkg/status": 1000,
                "etc/missing": 10, "etc-alias/passwd": 10,
            ],
            paths: [
                "/bin/bash", "bin/sh", "/usr/bin/away", "/loop", "/loop/x", "/etc", "/etc-alias/../usr", "/dev/null",
                "/bin/dash", "/usr/bin/bash/x", "/",
            ])
        let converted = try await convertRootfs(Chunks(Self.tar, sizes: [100]), watch: watch, sink: MemorySink())
        let findings = converted.findings
        #expect(findings.existing == ["/bin/bash", "bin/sh", "/etc", "/etc-alias/../usr", "/"])
        #expect(findings.files["etc/os-release"] == .bytes(Array("ID=debian\n".utf8)))
        #expect(findings.files["usr/lib/os-release"] == .bytes(Array("ID=debian\n".utf8)))
        #expect(findings.files["/etc/passwd"] == .bytes(Array("vcap:x:2000:2000::/home/vcap:/bin/bash\n".utf8)))
        #expect(findings.files["etc-alias/passwd"] == findings.files["/etc/passwd"])
        #expect(findings.files["var/lib/dpkg/status"] == .tooLarge(1100))
        #expect(findings.files["etc/missing"] == nil)
    }

    @Test("remembers a bounded number of links, and none where they are not followed", arguments: [true, false])
    func links(areFollowed: Bool) throws {
        var observer = RootfsObserver(RootfsWatch(followsLinks: areFollowed))
        let link = TarEntry(
            kind: .symbolicLink, name: Array("link".utf8), linkName: [UInt8](repeating: 0x74, count: 4000), mode: 0o777,
            modified: TarTime(seconds: 0))
        var taken = 0
        while taken < 5000, (try? observer.entry(link, name: link.name, target: [])) != nil { taken += 1 }
        #expect(areFollowed ? taken < 5000 && taken > 4000 : taken == 5000)
    }

    @Test("gives the files of a folder, and says so where there are too many")
    func folders() async throws {
        func findings(_ limit: Int) async throws -> [String: RootfsFindings.File] {
            try await convertRootfs(
                Chunks(Self.tar, sizes: [100]), watch: RootfsWatch(folders: ["usr/lib": limit, "nowhere": limit]),
                sink: MemorySink()
            ).findings.files
        }
        let release = RootfsFindings.File.bytes(Array("ID=debian\n".utf8))
        #expect(try await findings(4096)["usr/lib/os-release"] == release)
        #expect(try await findings(4096).keys.allSatisfy { $0.hasPrefix("usr/lib/") })
        let full = try await findings(520)
        #expect(full.count == 1 && full["usr/lib"] == .tooLarge(522))
    }

    @Test(
        "is refused if an entry's owner can't be given to its file, which would be root's then",
        arguments: ["4294967295", "99999999999", nil])
    func owners(_ id: String?) async throws {
        let tar = HandMadeTar.make { tar in
            if let id { tar.pax([("gid", id)]) }
            var file = HandMadeTar.Header("./bin/su")
            if id == nil { file.userID = [UInt8](repeating: 255, count: 8) }
            tar.add(file, content: [1])
        }
        let error = await #expect(throws: ConversionError.self) {
            try await convertRootfs(Chunks(tar), sink: MemorySink())
        }
        #expect(error?.fault == .invalid && error?.reason.contains("owner") == true)
    }

    @Test(
        "is refused for the same faults of structure as a droplet",
        arguments: [Hostile.names, Hostile.links, Hostile.headers].flatMap { $0 })
    func refused(_ hostile: Hostile) async throws {
        let sink = MemorySink()
        let error = await #expect(throws: ConversionError.self) {
            try await convertRootfs(Chunks(hostile.bytes), sink: sink)
        }
        #expect(error?.fault == hostile.fault)
        #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
    }
}

@Suite("A layer built from memory")
struct BuilderTests {
    static let contents = [
        LayerEntry("lifecycle/launch", .file(SampleDroplet.noise(700_000, seed: 11))),
        LayerEntry("lifecycle/launcher", .hardLink(to: "lifecycle/launch")),
        LayerEntry("usr/bin/dumb-init", .symbolicLink(to: "/lifecycle/launch")),
        LayerEntry("usr", .directory, mode: 0o750),
    ]

    @Test("is the same each time, with the directories it needs")
    func built() async throws {
        let sink = MemorySink()
        let layer = try await buildLayer(entries: Self.contents, sink: sink)
        let again = try await buildLayer(entries: Self.contents, sink: MemorySink())
        #expect(layer.digest == again.digest)
        let entries = try entries(of: decompressed(sink.bytes(layer.stored)))
        #expect(
            entries.map { "\(String(decoding: $0.name, as: UTF8.self)) \($0.kind) \(String($0.mode, radix: 8))" } == [
                "lifecycle/ directory 755", "lifecycle/launch file 755", "lifecycle/launcher hardLink 755",
                "usr/bin/ directory 755", "usr/bin/dumb-init symbolicLink 777", "usr/ directory 750",
            ])
        #expect(entries.allSatisfy { $0.userID == 0 && $0.modified == TarTime(seconds: 0) })
        #expect(layer.diffID.hex == "debcf6107363ea867cf98bbbb60f6e2ba5dcfefd8903a427f32f546a796eb71d")
    }

    @Test("is refused for entries against the rules")
    func refused() async throws {
        for bad in ["/absolute", "../up", "a/.wh.b"] {
            await #expect(throws: ConversionError.self) {
                try await buildLayer(entries: [LayerEntry(bad, .file([]))], sink: MemorySink())
            }
        }
    }
}
