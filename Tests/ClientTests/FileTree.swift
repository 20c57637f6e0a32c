import Foundation

/// Everything below a directory: names as bytes, types, modes, owners, times, contents and links.
struct FileTree {
    struct Entry: Equatable {
        var type: UInt32
        /// Permission bits, setuid, setgid, sticky.
        var mode: UInt32
        var owner: UInt32
        var group: UInt32
        /// Since 1970.
        var modified: Duration
        /// A file's bytes or a symlink's target.
        var content: [UInt8]
        /// The first name (in byte order) of the same file; nil if it has one name.
        var sameAs: [UInt8]?
    }

    /// By name below the directory, which itself is the empty name.
    private(set) var entries: [[UInt8]: Entry] = [:]

    struct Unreadable: Error {
        let path: String
        let code: Int32
    }

    init(of directory: String) throws {
        var files: [FileID: [[UInt8]]] = [:]
        var waiting: [[UInt8]] = [[]]
        let top = Array(directory.utf8)
        while let name = waiting.popLast() {
            let path = (name.isEmpty ? top : top + [slash] + name).map(CChar.init(bitPattern:)) + [0]
            var status = stat()
            guard lstat(path, &status) == 0 else { throw Self.unreadable(path) }
            var entry = Entry(
                type: status.st_mode & S_IFMT, mode: status.st_mode & 0o7777, owner: status.st_uid,
                group: status.st_gid,
                modified: .seconds(status.st_mtim.tv_sec) + .nanoseconds(status.st_mtim.tv_nsec), content: [])
            switch entry.type {
            case S_IFREG:
                entry.content = try Self.content(of: path)
            case S_IFLNK:
                var target = [CChar](repeating: 0, count: 4097)
                let length = readlink(path, &target, target.count)
                guard length >= 0 else { throw Self.unreadable(path) }
                entry.content = target[..<length].map(UInt8.init(bitPattern:))
            case S_IFDIR:
                waiting += try Self.names(in: path).map { name.isEmpty ? $0 : name + [slash] + $0 }
            default: break
            }
            if entry.type != S_IFDIR, status.st_nlink > 1 {
                files[FileID(device: status.st_dev, inode: status.st_ino), default: []].append(name)
            }
            entries[name] = entry
        }
        for names in files.values where names.count > 1 {
            let first = names.min { $0.lexicographicallyPrecedes($1) }
            for name in names { entries[name]?.sameAs = first }
        }
    }

    /// Changes every entry, for what is expected to differ.
    func mapped(_ change: (_ name: [UInt8], inout Entry) -> Void) -> FileTree {
        var tree = self
        for name in entries.keys {
            if var entry = entries[name] {
                change(name, &entry)
                tree.entries[name] = entry
            }
        }
        return tree
    }

    /// The differences to an expected tree, one line each, at most 20; empty if there are none.
    func differences(from expected: FileTree) -> [String] {
        var lines: [String] = []
        let names = Set(entries.keys).union(expected.entries.keys)
        for name in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            let shown = String(decoding: name, as: UTF8.self).debugDescription
            switch (entries[name], expected.entries[name]) {
            case (nil, _): lines.append("\(shown) is missing")
            case (_, nil): lines.append("\(shown) should not be there")
            case (let found?, let wanted?):
                for (what, a, b) in [
                    ("type", found.type, wanted.type), ("mode", found.mode, wanted.mode),
                    ("owner", found.owner, wanted.owner), ("group", found.group, wanted.group),
                ] where a != b {
                    lines.append("\(shown): \(what) \(String(a, radix: 8)), expected \(String(b, radix: 8)) (octal)")
                }
                if found.modified != wanted.modified {
                    lines.append("\(shown): modified \(found.modified), expected \(wanted.modified)")
                }
                if found.content != wanted.content {
                    lines.append("\(shown): \(found.content.count) other bytes, expected \(wanted.content.count)")
                }
                if found.sameAs != wanted.sameAs {
                    let (a, b) = (found.sameAs ?? [], wanted.sameAs ?? [])
                    lines.append(
                        "\(shown): linked to '\(String(decoding: a, as: UTF8.self))', "
                            + "expected '\(String(decoding: b, as: UTF8.self))'")
                }
            }
        }
        return lines.count > 20 ? lines.prefix(20) + ["… and \(lines.count - 20) more"] : lines
    }

    private struct FileID: Hashable {
        let device: dev_t
        let inode: ino_t
    }

    private static func unreadable(_ path: [CChar]) -> Unreadable {
        Unreadable(path: String(decoding: path.map(UInt8.init(bitPattern:)), as: UTF8.self), code: errno)
    }

    private static func content(of path: [CChar]) throws -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { throw unreadable(path) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = read(file, &buffer, buffer.count)
            guard count >= 0 else { throw unreadable(path) }
            guard count > 0 else { return bytes }
            bytes += buffer[..<count]
        }
    }

    private static func names(in path: [CChar]) throws -> [[UInt8]] {
        guard let directory = opendir(path) else { throw unreadable(path) }
        defer { closedir(directory) }
        var names: [[UInt8]] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != Array(".".utf8), name != Array("..".utf8) { names.append(name) }
        }
        return names
    }
}

private let slash = UInt8(ascii: "/")
