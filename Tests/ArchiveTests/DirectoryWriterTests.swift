import Archive
import Foundation
import TestSupport
import Testing

@Suite("Files that are created below a directory")
struct DirectoryWriterTests {
    /// Runs the body with a writer for a new directory, and says what is there then.
    func tree(
        replaces: Bool = false, limits: DirectoryWriter.Limits = .init(), prepare: (String) throws -> Void = { _ in },
        _ body: @Sendable (inout DirectoryWriter) throws(ArchiveError) -> Void
    ) async throws -> UnpackedTree {
        try await withTemporaryDirectory { place in
            let root = place + "/root"
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: false)
            try prepare(root)
            let descriptor = open(root, O_RDONLY)
            defer { close(descriptor) }
            var writer = try DirectoryWriter(descriptor: descriptor, replacesExisting: replaces, limits: limits)
            try body(&writer)
            try writer.finish()
            #expect(try FileManager.default.contentsOfDirectory(atPath: place) == ["root"])
            return try UnpackedTree(root)
        }
    }

    static func file(
        _ name: String, _ content: String, in writer: inout DirectoryWriter
    ) throws(ArchiveError) {
        try writer.beginFile(Array(name.utf8), mode: 0o644, modified: TarTime(seconds: 5))
        let result: Result<Void, ArchiveError> = Array(content.utf8).withUnsafeBytes { bytes in
            do throws(ArchiveError) {
                return .success(try writer.write(bytes))
            } catch {
                return .failure(error)
            }
        }
        try result.get()
        try writer.endFile()
    }

    @Test("have hard links to each other, and holes")
    func linksAndHoles() async throws {
        let found = try await tree { writer throws(ArchiveError) in
            try Self.file("a/b/file", "content", in: &writer)
            try writer.makeHardLink(Array("c/link".utf8), target: Array("./a/b/file".utf8))
            try writer.beginFile(Array("sparse".utf8), mode: 0o600)
            try writer.writeHole(1 << 20)
            try writer.endFile()
            let (entries, bytes) = (writer.entries, writer.bytes)
            #expect(entries == 6)
            #expect(bytes == 1 << 20 + 7)
        }
        #expect(found.entries["a/b/file"] == "file 644 content")
        #expect(found.entries["c/link"] == "file 644 content")
        #expect(found.entries["sparse"]?.utf8.count == "file 600 ".utf8.count + 100)
        #expect(found.modified["a/b/file"] == 5)
    }

    @Test("take the place of others only where that is wanted", arguments: [true, false])
    func replaced(_ replaces: Bool) async throws {
        let work: @Sendable (inout DirectoryWriter) throws(ArchiveError) -> Void = { writer throws(ArchiveError) in
            try writer.makeSymbolicLink(Array("file".utf8), target: Array("other".utf8))
            try Self.file("file", "second", in: &writer)
            try Self.file("file", "third", in: &writer)
        }
        if replaces {
            #expect(try await tree(replaces: true, work).entries == ["file": "file 644 third"])
        } else {
            await #expect(throws: ArchiveError.self) { try await tree(work) }
        }
    }

    @Test("are never created through links that were there before", arguments: ["out/file", "dangling/file", "out"])
    func existingLinks(_ name: String) async throws {
        await #expect(throws: ArchiveError.self) {
            try await tree(
                prepare: { root in
                    try FileManager.default.createSymbolicLink(atPath: root + "/out", withDestinationPath: "..")
                    try FileManager.default.createSymbolicLink(
                        atPath: root + "/dangling", withDestinationPath: "../missing")
                },
                { writer throws(ArchiveError) in try Self.file(name, "x", in: &writer) })
        }
    }

    @Test(
        "are no hard links to links, to directories, to what is outside or to what is missing",
        arguments: ["link", "dir", "../evil", "/etc/passwd", "missing", "link/file", "new"])
    func hardLinks(_ target: String) async throws {
        await #expect(throws: ArchiveError.self) {
            try await tree { writer throws(ArchiveError) in
                try Self.file("dir/file", "x", in: &writer)
                try writer.makeSymbolicLink(Array("link".utf8), target: Array("dir".utf8))
                try writer.makeHardLink(Array("new".utf8), target: Array(target.utf8))
            }
        }
    }

    @Test("that the disk has no room for are reported as such")
    func diskFull() async throws {
        try await withTemporaryDirectory { place in
            _ = try await runSuccessfully("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", place])
            var writer = try DirectoryWriter(path: place)
            do throws(ArchiveError) {
                try Self.file("big", String(repeating: "x", count: 1 << 20), in: &writer)
                Issue.record("it was written")
            } catch { #expect(error.fault == .system(ENOSPC)) }
            _ = try await runSuccessfully("umount", ["-l", place])
        }
    }
}
