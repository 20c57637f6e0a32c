import Archive
import Foundation
import TestSupport
import Testing

@Suite("Zip files that are written")
struct ZipWriterTests {
    static let time = TarTime(seconds: 1_600_000_000)
    static let entries: [(entry: ZipEntry, content: [UInt8])] = [
        (ZipEntry(kind: .directory, name: Array("dir/".utf8), mode: 0o750, modified: time), []),
        (
            ZipEntry(kind: .file, name: Array("dir/a".utf8), mode: 0o640, modified: time, size: 300_000),
            [UInt8](repeating: 65, count: 300_000)
        ),
        (ZipEntry(kind: .file, name: Array("empty".utf8), mode: 0o644, modified: time, size: 0), []),
        (
            ZipEntry(
                kind: .symbolicLink, name: Array("link".utf8), linkName: Array("dir/a".utf8), mode: 0o777,
                modified: time), []
        ),
        (ZipEntry(kind: .file, name: Array("cafe\u{301}".utf8), mode: 0o755, modified: time, size: 3), [1, 2, 3]),
        (ZipEntry(kind: .file, name: [0x63, 0xe9], mode: 0o644, modified: time, size: 1), [9]),
    ]

    /// Writes all entries, content in pieces of the given size.
    static func write(_ method: ZipWriter.Method, pieces: Int) throws -> [UInt8] {
        var writer = try ZipWriter()
        var bytes: [UInt8] = []
        for (entry, content) in entries {
            try writer.begin(entry, method: method, into: &bytes)
            for start in stride(from: 0, to: content.count, by: pieces) {
                try write(content[start..<min(content.count, start + pieces)], to: &writer, into: &bytes)
            }
            try writer.end(into: &bytes)
        }
        try writer.finish(into: &bytes)
        return bytes
    }

    static func write(
        _ content: ArraySlice<UInt8>, to writer: inout ZipWriter, into bytes: inout [UInt8]
    ) throws(ArchiveError) {
        let result: Result<Void, ArchiveError> = content.withUnsafeBytes { content in
            do throws(ArchiveError) {
                return .success(try writer.write(content, into: &bytes))
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    @Test("come back as they were, to us and to Python", arguments: [ZipWriter.Method.stored, .deflated])
    func roundTrip(_ method: ZipWriter.Method) async throws {
        let zip = try Self.write(method, pieces: 70_000)
        #expect(try Self.write(method, pieces: 70_000) == zip)
        #expect((zip.count < 10_000) == (method == .deflated))
        try await withTemporaryDirectory { place in
            try Data(zip).write(to: URL(fileURLWithPath: place + "/zip"))
            var reader = try ZipReader(path: place + "/zip")
            for (entry, content) in Self.entries {
                #expect(try reader.next() == entry)
                var found: [UInt8] = []
                while let block = try reader.withContent({ Array($0) }) { found += block }
                #expect(found == content)
            }
            #expect(try reader.next() == nil)
            let script = """
                import zipfile
                z = zipfile.ZipFile('zip')
                assert z.testzip() is None
                print([(i.filename, oct(i.external_attr >> 16), i.file_size) for i in z.infolist()][:5])
                """
            let python = try await runSuccessfully("python3", ["-c", script], directory: place)
            #expect(python.output.contains("('dir/a', '0o100640', 300000)"))
            #expect(python.output.contains("('link', '0o120777', 5)"))
            #expect(python.output.contains("'0o100755', 3)"))
        }
    }

    @Test("with an entry over 4 GiB say so in zip64")
    func zip64() throws {
        let size: Int64 = 5 << 30
        var writer = try ZipWriter()
        var bytes: [UInt8] = []
        try writer.begin(
            ZipEntry(kind: .file, name: [65], mode: 0o644, modified: Self.time, size: size), method: .stored,
            into: &bytes)
        // Version 4.5 to read it, and both sizes at the end of the header.
        #expect(bytes[4] == 45)
        #expect(Array(bytes.suffix(16)) == HandMadeZip.number(size, 8) + HandMadeZip.number(size, 8))
    }

    @Test("are not written from entries that break their own word")
    func refused() throws {
        var bytes: [UInt8] = []
        let good = ZipEntry(kind: .file, name: [65], mode: 0o644, modified: Self.time, size: 2)
        let changes: [(inout ZipEntry) -> Void] = [
            { $0.name = [] }, { $0.name = [65, 0] }, { $0.size = -1 }, { $0.linkName = [66] },
            { $0.kind = .directory }, { $0.name = [UInt8](repeating: 65, count: 1 << 16) },
        ]
        for change in changes {
            var entry = good
            change(&entry)
            var writer = try ZipWriter()
            do throws(ArchiveError) {
                try writer.begin(entry, into: &bytes)
                Issue.record("\(entry) was taken")
            } catch { #expect(error.fault == .invalid) }
        }
        var writer = try ZipWriter()
        try writer.begin(good, into: &bytes)
        do throws(ArchiveError) {
            try writer.end(into: &bytes)
            Issue.record("a short entry was taken")
        } catch { #expect(error.fault == .invalid) }
        do throws(ArchiveError) {
            try Self.write([1, 2, 3], to: &writer, into: &bytes)
            Issue.record("a long entry was taken")
        } catch { #expect(error.fault == .invalid) }
    }
}
