package import Archive

/// Zips of tests.
package enum TestZip {
    /// A zip with files of one mode, in the order of their names.
    package static func bytes(_ files: [String: String], mode: UInt32 = 0o644) throws -> [UInt8] {
        try bytes(
            files.sorted { $0.key < $1.key }.map { name, content in
                (
                    ZipEntry(kind: .file, name: Array(name.utf8), mode: mode, modified: .init(seconds: 1_700_000_000)),
                    Array(content.utf8)
                )
            })
    }

    /// A zip with entries of any kind; a file's size is that of its content.
    package static func bytes(_ entries: [(entry: ZipEntry, content: [UInt8])]) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var zip = try ZipWriter()
        for (entry, content) in entries {
            var entry = entry
            entry.size = Int64(content.count)
            try zip.begin(entry, into: &bytes)
            // A closure that throws an ArchiveError itself crashes the compiler here.
            let result: Result<Void, ArchiveError> = content.withUnsafeBytes { content in
                do throws(ArchiveError) { return .success(try zip.write(content, into: &bytes)) } catch {
                    return .failure(error)
                }
            }
            try result.get()
            try zip.end(into: &bytes)
        }
        try zip.finish(into: &bytes)
        return bytes
    }
}
