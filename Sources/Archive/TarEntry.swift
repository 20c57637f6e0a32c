/// One member of a tar archive, whichever format its header was in.
public struct TarEntry: Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
        case file
        case directory
        case symbolicLink
        /// Another name of an entry earlier in the archive.
        case hardLink
        case characterDevice
        case blockDevice
        case fifo
    }

    public var kind: Kind
    /// The name as stored: bytes, in no particular encoding.
    public var name: [UInt8]
    /// Target of a symbolic or hard link, as stored; empty for other kinds.
    public var linkName: [UInt8]
    /// Permission, setuid, setgid and sticky bits (07777).
    public var mode: UInt32
    public var userID: Int64
    public var groupID: Int64
    public var userName: [UInt8]
    public var groupName: [UInt8]
    public var modified: TarTime
    /// The content's length in bytes, holes of a sparse file included. 0 for everything but files.
    public var size: Int64
    /// PAX records that say nothing of the above, extended attributes among them, in the archive's order.
    public var records: [TarRecord]
    /// Whether the file's holes are not stored.
    public var isSparse: Bool

    public init(
        kind: Kind, name: [UInt8], linkName: [UInt8] = [], mode: UInt32, userID: Int64 = 0, groupID: Int64 = 0,
        userName: [UInt8] = [], groupName: [UInt8] = [], modified: TarTime, size: Int64 = 0,
        records: [TarRecord] = [], isSparse: Bool = false
    ) {
        self.kind = kind
        self.name = name
        self.linkName = linkName
        self.mode = mode
        self.userID = userID
        self.groupID = groupID
        self.userName = userName
        self.groupName = groupName
        self.modified = modified
        self.size = size
        self.records = records
        self.isSparse = isSparse
    }
}

/// One record of a PAX extended header (POSIX.1-2017, pax, "pax Extended Header").
public struct TarRecord: Hashable, Sendable {
    public var key: String
    public var value: [UInt8]

    public init(key: String, value: [UInt8]) {
        self.key = key
        self.value = value
    }
}
