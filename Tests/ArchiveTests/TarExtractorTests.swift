import Archive
import Foundation
import TestSupport
import Testing

@Suite("Unpacking a tar archive")
struct TarExtractorTests {
    /// Unpacks an archive that is handed over in pieces of a size into a new directory.
    static func unpack(
        _ archive: [UInt8], pieces: Int, limit: Int64 = .max, into root: String
    ) throws -> Int {
        var writer = try DirectoryWriter(path: root, replacesExisting: true, allowsOutwardLinks: true)
        var extractor = TarExtractor(limit: limit)
        for start in stride(from: 0, to: archive.count, by: pieces) {
            try extractor.take(archive[start..<min(archive.count, start + pieces)], into: &writer)
        }
        try extractor.finish(into: &writer)
        try writer.finish()
        return extractor.skipped
    }

    @Test(
        "gives the same tree however it is compressed and cut",
        arguments: CompressionFormat.allCases, [97, 1 << 20])
    func formats(_ format: CompressionFormat, pieces: Int) async throws {
        let tar = TestTar([
            .directory("./usr"), .program("usr/bin/app", Array("run".utf8)), .symbolicLink("bin", to: "/usr/bin"),
            .hardLink("usr/bin/other", to: "./usr/bin/app"), .fifo("usr/pipe"), .bytes("usr/empty", []),
            .bytes("usr/large", Array(repeating: 7, count: 300_000)), .file("usr/large", "replaced"),
        ])
        let archive = try StreamTests.compress(tar.bytes, format)
        try await withTemporaryDirectory { root in
            let skipped = try Self.unpack(archive, pieces: pieces, into: root)
            #expect(skipped == 1)
            let found = try UnpackedTree(root).entries
            #expect(
                found == [
                    "usr": "dir 755", "usr/bin": "dir 755", "usr/bin/app": "file 755 run", "bin": "link -> /usr/bin",
                    "usr/bin/other": "file 755 run", "usr/empty": "file 644 ", "usr/large": "file 644 replaced",
                ])
        }
    }

    @Test("gives what GNU tar packed", arguments: ["gnu", "pax", "ustar"])
    func foreign(_ format: String) async throws {
        try await withTemporaryDirectory { place in
            let script = """
                set -eu; cd "$1"; umask 022; mkdir -p root/a/sticky out; chmod 1777 root/a/sticky; echo x >root/a/file
                chmod 751 root/a/file; ln root/a/file root/linked; ln -s /etc/passwd root/a/outward
                ln -s missing root/dangling; truncate -s 3M root/holes; echo end >>root/holes
                touch -d 2001-02-03T04:05:06 root/a/file root/a/sticky root/a; chmod 555 root/a/file
                tar --format="$2" $3 -cf tar -C root .
                """
            _ = try await runSuccessfully(
                "sh", ["-c", script, "sh", place, format, format == "ustar" ? "" : "--sparse"])
            let archive = Array(try Data(contentsOf: URL(fileURLWithPath: place + "/tar")))
            #expect(try Self.unpack(archive, pieces: 64 << 10, into: place + "/out") == 0)
            _ = try await runSuccessfully("tar", ["--compare", "-f", place + "/tar", "-C", place + "/out"])
        }
    }

    @Test(
        "writes nothing through links, and nothing outside",
        arguments: [
            [.symbolicLink("out", to: ".."), .file("out/evil", "x")],
            [.symbolicLink("out", to: ".."), .directory("out/evil")],
            [.symbolicLink("out", to: ".."), .hardLink("in", to: "out/evil")],
            [.file("../evil", "x")], [.file("/evil", "x")],
        ] as [[TestTar.Entry]])
    func hostile(_ entries: [TestTar.Entry]) async throws {
        try await withTemporaryDirectory { place in
            try FileManager.default.createDirectory(atPath: place + "/root", withIntermediateDirectories: false)
            #expect(throws: ArchiveError.self) {
                try Self.unpack(TestTar(entries).bytes, pieces: 4096, into: place + "/root")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: place) == ["root"])
        }
    }

    @Test("takes an archive as long as its limit, and no longer")
    func limit() async throws {
        let tar = TestTar([.file("file", "content")]).bytes
        try await withTemporaryDirectory { root in
            _ = try Self.unpack(tar, pieces: 100, limit: Int64(tar.count), into: root)
            let error = #expect(throws: ArchiveError.self) {
                try Self.unpack(tar, pieces: 100, limit: Int64(tar.count) - 1, into: root)
            }
            #expect(error?.fault == .tooLarge)
        }
    }

    @Test("refuses an archive that ends early", arguments: CompressionFormat.allCases)
    func truncated(_ format: CompressionFormat) async throws {
        let tar = TestTar([.file("file", "content")]).bytes
        let archive = try StreamTests.compress(tar, format)
        try await withTemporaryDirectory { (root) throws in
            for length in [0, 3, archive.count / 2 - 1, archive.count - (format == .none ? 600 : 1)] {
                let error = #expect(throws: ArchiveError.self, "\(length)") {
                    try Self.unpack(Array(archive[..<length]), pieces: 100, into: root)
                }
                #expect(error?.fault == .invalid)
            }
        }
    }
}
