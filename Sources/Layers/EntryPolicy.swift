import Archive

/// Where droplets and root filesystems are treated differently.
struct EntryPolicy: Sendable {
    /// What every name gets in front, as components.
    var prefix: [UInt8]
    /// Who owns everything; `nil` leaves the owners as they are.
    var owner: Owner?
    /// Mode bits that are kept, of 07777.
    var modeMask: UInt32
    /// PAX records that are kept.
    var keptRecords: Set<String>
    /// Whether devices and fifos are left out; otherwise the archive is refused.
    var dropsNodes: Bool
    /// Whether `deps/<index>` go into layers of their own.
    var splitsDependencies: Bool

    struct Owner: Sendable {
        var id: Int64
        var name: [UInt8]
    }

    static func droplet(_ mode: LayerMode) -> EntryPolicy {
        EntryPolicy(
            prefix: Array("home/vcap".utf8), owner: Owner(id: 2000, name: Array("vcap".utf8)), modeMask: 0o1777,
            keptRecords: [], dropsNodes: false, splitsDependencies: mode == .split)
    }

    static let rootfs = EntryPolicy(
        prefix: [], owner: nil, modeMask: 0o7777, keptRecords: ["SCHILY.xattr.security.capability"], dropsNodes: true,
        splitsDependencies: false)

    /// The `deps/<index>` that a name lies in, as a layer of its own.
    ///
    /// - Parameter name: clean.
    func group(_ name: [UInt8], isDirectory: Bool) -> LayerGroup {
        guard splitsDependencies, name.starts(with: Self.dependencies) else { return .rest }
        let index = name.dropFirst(Self.dependencies.count).prefix { $0 != EntryName.slash }
        // What is no directory has nothing below it, and stays with the rest.
        guard isDirectory || Self.dependencies.count + index.count < name.count else { return .rest }
        guard !index.isEmpty, index.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return .rest
        }
        return .dependency(index: String(decoding: index, as: UTF8.self))
    }

    private static let dependencies = Array("deps/".utf8)

    /// A directory of our own making.
    func directory(_ path: [UInt8], owner: Owner?) -> TarEntry {
        TarEntry(
            kind: .directory, name: path + [EntryName.slash], mode: 0o755, userID: owner?.id ?? 0,
            groupID: owner?.id ?? 0, userName: owner?.name ?? [], groupName: owner?.name ?? [],
            modified: Self.fixedTime)
    }

    /// The time of directories whose own time is not known, or must not make a difference.
    static let fixedTime = TarTime(seconds: 0)

    /// The directories above everything in a layer.
    func preamble(_ group: LayerGroup) -> [TarEntry] {
        var entries: [TarEntry] = []
        var path: [UInt8] = []
        let components = prefix.split(separator: EntryName.slash)
        for (index, component) in components.enumerated() {
            path += (path.isEmpty ? [] : [EntryName.slash]) + component
            // The last one is the droplet's own root, of which its layer says more.
            if index == components.count - 1, group == .rest { break }
            entries.append(directory(path, owner: index == components.count - 1 ? owner : nil))
        }
        if case .dependency = group {
            entries.append(directory(path + Array("/deps".utf8), owner: owner))
        }
        return entries
    }

    /// A clean name as it is written.
    func place(_ name: [UInt8]) -> [UInt8] {
        if prefix.isEmpty { return name }
        return name.isEmpty ? prefix : prefix + [EntryName.slash] + name
    }
}

/// Names inside an archive, brought into one form: components joined by single slashes, none at either end.
enum EntryName {
    enum Fault: Error {
        case absolute
        case parent
        case empty
        case whiteout
        case componentTooLong
        case zeroByte

        var reason: String {
            switch self {
            case .absolute: "the name is absolute"
            case .parent: "the name has a component '..'"
            case .empty: "the name is empty"
            case .whiteout: "names that begin with '.wh.' would delete files of an image"
            case .componentTooLong: "a component of the name is longer than 255 bytes"
            case .zeroByte: "the name contains NUL"
            }
        }
    }

    enum Whiteouts {
        case refused
        /// The last component may be one.
        case kept
    }

    /// Drops `.` components and needless slashes.
    ///
    /// - Returns: the archive's own root as an empty name.
    static func clean(_ raw: [UInt8], whiteouts: Whiteouts = .refused) throws(Fault) -> [UInt8] {
        guard let first = raw.first else { throw .empty }
        guard first != slash else { throw .absolute }
        var name: [UInt8] = []
        name.reserveCapacity(raw.count)
        var start = 0
        while start < raw.count {
            var end = start
            while end < raw.count, raw[end] != slash {
                guard raw[end] != 0 else { throw .zeroByte }
                end += 1
            }
            let length = end - start
            if length > 0, !(length == 1 && raw[start] == dot) {
                guard !(length == 2 && raw[start] == dot && raw[start + 1] == dot) else { throw .parent }
                let isWhiteout = raw[start..<end].starts(with: whiteout)
                guard !isWhiteout || (whiteouts == .kept && end == raw.count) else { throw .whiteout }
                // What it hides may have a name as long as any.
                guard length <= (isWhiteout ? 255 + whiteout.count : 255) else { throw .componentTooLong }
                if !name.isEmpty { name.append(slash) }
                name.append(contentsOf: raw[start..<end])
            }
            start = end + 1
        }
        return name
    }

    static let slash = UInt8(ascii: "/")
    private static let dot = UInt8(ascii: ".")
    /// What the name of a whiteout begins with (OCI image specification, layer.md, "Whiteouts").
    static let whiteout = Array(".wh.".utf8)

    /// Everything before the last slash; empty for what lies at the top.
    static func parent(_ name: [UInt8]) -> ArraySlice<UInt8> {
        guard let slash = name.lastIndex(of: slash) else { return name[..<0] }
        return name[..<slash]
    }
}
