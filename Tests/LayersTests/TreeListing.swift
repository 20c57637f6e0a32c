import Foundation
import OCI

/// What a directory tree is, entry by entry, as far as a layer must keep it.
struct TreeListing: Equatable {
    struct Node: Equatable, CustomStringConvertible {
        var type: UInt32
        var mode: UInt32
        var owner: [UInt32]
        var seconds: Int
        var nanoseconds: Int
        var size: Int64
        var digest: String
        var target: [UInt8]
        /// The first name, in order, of the same inode.
        var firstName: [UInt8]

        var description: String {
            "type \(String(type, radix: 8)) mode \(String(mode, radix: 8)) owner \(owner) mtime \(seconds).\(nanoseconds) "
                + "size \(size) \(digest.prefix(12)) -> \(String(decoding: target, as: UTF8.self)) "
                + "= \(String(decoding: firstName, as: UTF8.self))"
        }
    }

    var nodes: [[UInt8]: Node] = [:]

    init(_ root: String) throws {
        var inodes: [UInt64: [UInt8]] = [:]
        try walk(Array(root.utf8), [], &inodes)
    }

    private mutating func walk(_ root: [UInt8], _ name: [UInt8], _ inodes: inout [UInt64: [UInt8]]) throws {
        let path = name.isEmpty ? root : root + [UInt8(ascii: "/")] + name
        let cPath = (path + [0]).map { CChar(bitPattern: $0) }
        var status = stat()
        guard lstat(cPath, &status) == 0 else { throw Workshop.Failed(description: "lstat \(path)") }
        let type = status.st_mode & S_IFMT
        var node = Node(
            type: type, mode: status.st_mode & 0o7777, owner: [status.st_uid, status.st_gid],
            seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec, size: 0, digest: "", target: [],
            firstName: name)
        switch type {
        case S_IFREG:
            node.size = Int64(status.st_size)
            node.digest = Digest.of(try contents(cPath)).hex
            node.firstName = inodes[UInt64(status.st_ino), default: name]
            inodes[UInt64(status.st_ino)] = node.firstName
        case S_IFLNK:
            var buffer = [UInt8](repeating: 0, count: 8192)
            let count = buffer.withUnsafeMutableBytes { bytes in
                bytes.assumingMemoryBound(to: CChar.self).baseAddress.map { readlink(cPath, $0, bytes.count) } ?? 0
            }
            node.target = Array(buffer.prefix(max(0, count)))
        case S_IFDIR:
            for child in try children(cPath) {
                try walk(root, name.isEmpty ? child : name + [UInt8(ascii: "/")] + child, &inodes)
            }
        default: break
        }
        nodes[name] = node
    }

    private func contents(_ path: [CChar]) throws -> [UInt8] {
        guard let file = fopen(path, "rb") else { throw Workshop.Failed(description: "open") }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
    }

    private func children(_ path: [CChar]) throws -> [[UInt8]] {
        guard let directory = opendir(path) else { throw Workshop.Failed(description: "opendir") }
        defer { closedir(directory) }
        var names: [[UInt8]] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name != Array(".".utf8), name != Array("..".utf8) { names.append(name) }
        }
        return names.sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// The tree below one of its directories.
    func below(_ directory: String) -> TreeListing {
        var copy = self
        copy.nodes = [:]
        let prefix = Array(directory.utf8)
        func cut(_ name: [UInt8]) -> [UInt8]? {
            if name == prefix { return [] }
            guard name.starts(with: prefix + [UInt8(ascii: "/")]) else { return nil }
            return Array(name.dropFirst(prefix.count + 1))
        }
        for (name, node) in nodes {
            guard let short = cut(name) else { continue }
            var node = node
            node.firstName = cut(node.firstName) ?? node.firstName
            copy.nodes[short] = node
        }
        return copy
    }

    /// What a droplet's layer makes of it.
    func asDroplet() -> TreeListing {
        var copy = self
        for (name, node) in nodes {
            var node = node
            node.owner = [2000, 2000]
            if node.type != S_IFLNK { node.mode &= 0o1777 }
            copy.nodes[name] = node
        }
        return copy
    }

    /// Lines that tell where two trees differ.
    func differences(from other: TreeListing) -> [String] {
        Set(nodes.keys).union(other.nodes.keys).sorted { $0.lexicographicallyPrecedes($1) }.compactMap { name in
            let (mine, theirs) = (nodes[name], other.nodes[name])
            guard mine != theirs else { return nil }
            func text(_ node: Node?) -> String { node.map { "\($0)" } ?? "missing" }
            return "\(String(decoding: name, as: UTF8.self)): \(text(mine)) | \(text(theirs))"
        }
    }

    private init() {}
}
