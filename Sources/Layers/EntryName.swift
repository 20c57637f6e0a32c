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
