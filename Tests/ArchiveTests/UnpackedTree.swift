import Archive
import Foundation
import TestSupport
import Testing

/// What a test looks at below a directory: each path with its kind, mode, content or target.
struct UnpackedTree {
    /// `dir 755`, `file 644 content`, `link -> target`, by path. Names that are not UTF-8 are repaired.
    private(set) var entries: [String: String] = [:]
    /// Seconds since 1970, by path.
    private(set) var modified: [String: Int] = [:]

    init(_ root: String) throws {
        try add(open(root, O_RDONLY | O_DIRECTORY), prefix: "")
    }

    /// Adds what is in a directory, and closes it.
    private mutating func add(_ directory: Int32, prefix: String) throws {
        let stream = try #require(fdopendir(directory))
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) + [0] }
            let path = prefix + String(decoding: name.dropLast(), as: UTF8.self)
            if name == [0x2e, 0] || name == [0x2e, 0x2e, 0] { continue }
            try name.map { CChar(bitPattern: $0) }.withUnsafeBufferPointer { buffer in
                try add(try #require(buffer.baseAddress), in: directory, as: path)
            }
        }
    }

    private mutating func add(_ name: UnsafePointer<CChar>, in directory: Int32, as path: String) throws {
        var status = stat()
        try #require(fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        modified[path] = status.st_mtim.tv_sec
        let mode = String(status.st_mode & 0o7777, radix: 8)
        var bytes = [UInt8](repeating: 0, count: 100)
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            entries[path] = "dir \(mode)"
            try add(openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), prefix: path + "/")
        case S_IFLNK:
            var target = [CChar](repeating: 0, count: 100)
            let count = readlinkat(directory, name, &target, target.count)
            bytes = target.map { UInt8(bitPattern: $0) }
            entries[path] = "link -> " + String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        default:
            let file = openat(directory, name, O_RDONLY | O_NOFOLLOW)
            let count = read(file, &bytes, bytes.count)
            close(file)
            entries[path] = "file \(mode) " + String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        }
    }
}

/// Unpacks a zip into a new directory, beside which lies something that must stay as it is.
/// - Returns: what `body` makes of the directory.
/// - Throws: what unpacking throws, after it was checked that nothing outside has changed.
func unpacking<Value>(
    _ zip: [UInt8], limits: ZipReader.Limits = .init(), writerLimits: DirectoryWriter.Limits = .init(),
    _ body: (UnpackedTree) throws -> Value
) async throws -> Value {
    try await withTemporaryDirectory { place in
        let root = place + "/root"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: false)
        try Data("untouched".utf8).write(to: URL(fileURLWithPath: place + "/evil"))
        try Data(zip).write(to: URL(fileURLWithPath: place + "/zip"))
        defer {
            let around = (try? FileManager.default.contentsOfDirectory(atPath: place).sorted()) ?? []
            #expect(around == ["evil", "root", "zip"], "something was made outside")
            #expect(FileManager.default.contents(atPath: place + "/evil") == Data("untouched".utf8))
        }
        var reader = try ZipReader(path: place + "/zip", limits: limits)
        var writer = try DirectoryWriter(path: root, limits: writerLimits)
        try reader.extract(into: &writer)
        try writer.finish()
        return try body(UnpackedTree(root))
    }
}
