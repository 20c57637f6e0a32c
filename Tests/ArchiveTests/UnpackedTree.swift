import Archive
import Foundation
import TestSupport

/// What a test looks at below a directory: each path with its kind, mode, content or target.
struct UnpackedTree {
    /// `dir 755`, `file 644 content`, `link -> target`, by path.
    var entries: [String: String] = [:]
    /// Seconds since 1970, by path.
    var modified: [String: Int] = [:]

    init(_ root: String) throws {
        let names = try FileManager.default.subpathsOfDirectory(atPath: root)
        for name in names {
            var status = stat()
            guard lstat(root + "/" + name, &status) == 0 else { continue }
            let mode = String(status.st_mode & 0o7777, radix: 8)
            switch status.st_mode & S_IFMT {
            case S_IFDIR: entries[name] = "dir \(mode)"
            case S_IFLNK:
                entries[name] =
                    "link -> " + (try FileManager.default.destinationOfSymbolicLink(atPath: root + "/" + name))
            default:
                let content = FileManager.default.contents(atPath: root + "/" + name) ?? Data()
                entries[name] = "file \(mode) " + String(decoding: content.prefix(100), as: UTF8.self)
            }
            modified[name] = status.st_mtim.tv_sec
        }
    }
}

/// Unpacks a zip into a new directory, beside which lies something that must stay as it is.
/// - Returns: what `body` makes of the directory.
/// - Throws: what unpacking throws, after it was checked that nothing outside has changed.
func unpacking<Value>(
    _ zip: [UInt8], replaces: Bool = false, limits: ZipReader.Limits = .init(),
    writerLimits: DirectoryWriter.Limits = .init(), _ body: (UnpackedTree) throws -> Value
) async throws -> Value {
    try await withTemporaryDirectory { place in
        let root = place + "/root"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: false)
        try Data("untouched".utf8).write(to: URL(fileURLWithPath: place + "/evil"))
        try Data(zip).write(to: URL(fileURLWithPath: place + "/zip"))
        defer {
            let around = (try? FileManager.default.contentsOfDirectory(atPath: place).sorted()) ?? []
            let evil = FileManager.default.contents(atPath: place + "/evil")
            if around != ["evil", "root", "zip"] || evil != Data("untouched".utf8) {
                fatalError("something outside of the directory was written: \(around)")
            }
        }
        var reader = try ZipReader(path: place + "/zip", limits: limits)
        var writer = try DirectoryWriter(path: root, replacesExisting: replaces, limits: writerLimits)
        try reader.extract(into: &writer)
        try writer.finish()
        return try body(UnpackedTree(root))
    }
}
