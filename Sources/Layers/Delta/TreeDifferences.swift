internal import Archive

/// Where two trees differ, found name by name. Written on its own, so that it checks `TreeChanges` rather than repeats it.
public struct TreeDifferences: Sendable, Hashable {
    /// How many are told.
    public static let maximumTold = 20

    /// `NAME: what is different`, printable, the first ones in the order of the names.
    public private(set) var told: [String] = []
    public private(set) var count = 0

    public var isEmpty: Bool { count == 0 }

    /// - Parameters:
    ///   - found: what there is.
    ///   - wanted: what there should be.
    ///   - directory: only what lies below it is compared; nothing lies below what is no directory.
    init(_ found: FileTree, from wanted: FileTree, below directory: [UInt8] = [], times: DeltaTimes) {
        let (names, others) = (Self.names(found, directory), Self.names(wanted, directory))
        var partners: [FileTree.FileID: FileTree.FileID] = [:]
        var owners: [FileTree.FileID: FileTree.FileID] = [:]
        var (left, right) = (0, 0)
        while left < names.count || right < others.count {
            if right == others.count || (left < names.count && names[left].path.precedes(others[right].path)) {
                add(names[left].path, "it should not be there")
                left += 1
            } else if left == names.count || others[right].path.precedes(names[left].path) {
                add(others[right].path, "it is missing")
                right += 1
            } else {
                let (one, other) = (names[left].file, others[right].file)
                if let difference = Self.difference(found.files[one], wanted.files[other], times) {
                    add(names[left].path, difference)
                } else if partners[one, default: other] != other || owners[other, default: one] != one {
                    add(names[left].path, "it is linked to other names")
                }
                partners[one] = other
                owners[other] = one
                left += 1
                right += 1
            }
        }
    }

    private static func names(
        _ tree: FileTree, _ directory: [UInt8]
    ) -> [(path: [UInt8], file: FileTree.FileID)] {
        guard let directory = tree.find(directory) else { return [] }
        var names: [(path: [UInt8], file: FileTree.FileID)] = []
        for node in tree.subtree(directory).dropFirst() { names.append((tree.path(node), tree.fileID(node))) }
        return names.sorted { $0.path.precedes($1.path) }
    }

    private static func difference(_ one: FileRecord, _ other: FileRecord, _ times: DeltaTimes) -> String? {
        if one.kind != other.kind { return "it is a \(one.kind) and should be a \(other.kind)" }
        if one.kind != .symbolicLink, one.mode != other.mode {
            return "its mode is \(String(one.mode, radix: 8)) and should be \(String(other.mode, radix: 8))"
        }
        if (one.userID, one.groupID) != (other.userID, other.groupID) {
            return "its owner is \(one.userID):\(one.groupID) and should be \(other.userID):\(other.groupID)"
        }
        if one.size != other.size { return "its size is \(one.size) and should be \(other.size)" }
        if one.content != other.content {
            return one.kind == .symbolicLink ? "it leads to somewhere else" : "its content differs"
        }
        if one.records != other.records { return "its extended attributes differ" }
        if times == .compared, one.modified != other.modified {
            return "its time is \(one.modified.seconds) and should be \(other.modified.seconds)"
        }
        return nil
    }

    private mutating func add(_ path: [UInt8], _ difference: String) {
        count += 1
        if told.count < Self.maximumTold { told.append("\(printableName(path)): \(difference)") }
    }
}

extension [UInt8] {
    fileprivate func precedes(_ other: [UInt8]) -> Bool { lexicographicallyPrecedes(other) }
}
