import Archive

/// The settings in which the rules for droplets and for root filesystems differ.
struct EntryPolicy: Sendable {
    /// The directory under which every name is put, without slashes at either end; empty for none.
    var prefix: [UInt8]
    /// The owner that every entry gets; `nil` leaves the owners as they are.
    var owner: Owner?
    /// Mode bits that are kept, of 07777.
    var modeMask: UInt32
    /// Keys of the PAX records that are kept.
    var keptRecords: Set<String>
    /// Whether devices and fifos are left out; if not, an archive that has one is refused.
    var dropsNodes: Bool
    /// Whether an archive without entries is refused.
    var needsEntries: Bool
    /// Whether `deps/<index>` go into layers of their own.
    var splitsDependencies: Bool

    struct Owner: Sendable {
        var id: Int64
        var name: [UInt8]
    }

    static func droplet(_ mode: LayerMode) -> EntryPolicy {
        EntryPolicy(
            prefix: Array("home/vcap".utf8), owner: Owner(id: 2000, name: Array("vcap".utf8)), modeMask: 0o1777,
            keptRecords: [], dropsNodes: false, needsEntries: true,
            splitsDependencies: mode == .split)
    }

    static let rootfs = EntryPolicy(
        prefix: [], owner: nil, modeMask: 0o7777, keptRecords: ["SCHILY.xattr.security.capability"], dropsNodes: true,
        needsEntries: false, splitsDependencies: false)

    /// The layer that a name belongs to: that of its `deps/<index>` where those are split off, otherwise `rest`.
    ///
    /// - Parameter name: in the form that `EntryName.clean` gives.
    func group(_ name: [UInt8], isDirectory: Bool) -> LayerGroup {
        guard splitsDependencies, name.starts(with: Self.dependencies) else { return .rest }
        let index = name.dropFirst(Self.dependencies.count).prefix { $0 != EntryName.slash }
        // A `deps/<index>` that is no directory has nothing below it, so it stays in the layer of the rest.
        guard isDirectory || Self.dependencies.count + index.count < name.count else { return .rest }
        guard !index.isEmpty, index.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return .rest
        }
        return .dependency(index: String(decoding: index, as: UTF8.self))
    }

    private static let dependencies = Array("deps/".utf8)

    /// The entry of a directory that the archive has no entry for.
    func directory(_ path: [UInt8], owner: Owner?) -> TarEntry {
        TarEntry(
            kind: .directory, name: path + [EntryName.slash], mode: 0o755, userID: owner?.id ?? 0,
            groupID: owner?.id ?? 0, userName: owner?.name ?? [], groupName: owner?.name ?? [],
            modified: Self.fixedTime)
    }

    /// The time of directories whose own time is unknown, or must not change the layer's digest.
    static let fixedTime = TarTime(seconds: 0)

    /// The entries that a layer begins with: the directories above everything in it.
    func preamble(_ group: LayerGroup) -> [TarEntry] {
        var entries: [TarEntry] = []
        var path: [UInt8] = []
        let components = prefix.split(separator: EntryName.slash)
        for (index, component) in components.enumerated() {
            path += (path.isEmpty ? [] : [EntryName.slash]) + component
            // The last component is the droplet's root directory: the rest's layer gets the archive's entry for it.
            if index == components.count - 1, group == .rest { break }
            entries.append(directory(path, owner: index == components.count - 1 ? owner : nil))
        }
        if case .dependency = group {
            entries.append(directory(path + Array("/deps".utf8), owner: owner))
        }
        return entries
    }

    /// The name under which an entry is written: the prefix, then its clean name.
    func place(_ name: [UInt8]) -> [UInt8] {
        if prefix.isEmpty { return name }
        return name.isEmpty ? prefix : prefix + [EntryName.slash] + name
    }

    /// The clean name of what is written under a name: `place` backwards.
    func archived(_ written: [UInt8]) -> [UInt8] {
        prefix.isEmpty || !written.starts(with: prefix) ? written : Array(written.dropFirst(prefix.count + 1))
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
        /// The last component of a name may be a whiteout.
        case kept
    }

    /// Drops `.` components and needless slashes from a name.
    ///
    /// - Returns: the clean name, which is empty for the archive's root.
    /// - Throws: `Fault` for a name that no entry may have.
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
                // The name that a whiteout hides may itself have 255 bytes.
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
    /// The prefix of a whiteout's name (OCI image specification, layer.md, "Whiteouts").
    static let whiteout = Array(".wh.".utf8)

    /// The part of a name before its last slash; empty for a name without one.
    static func parent(_ name: [UInt8]) -> ArraySlice<UInt8> {
        guard let slash = name.lastIndex(of: slash) else { return name[..<0] }
        return name[..<slash]
    }
}
