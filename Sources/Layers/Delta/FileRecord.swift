import Archive
import OCI

/// A file, directory or symbolic link without its names, like an inode: about 100 bytes, and attributes if any.
struct FileRecord: Sendable {
    enum Kind: UInt8, Sendable {
        case file
        case directory
        case symbolicLink
        /// A device or fifo.
        case node
    }

    var kind: Kind
    /// The bits of 07777.
    var mode: UInt16
    var userID: Int64
    var groupID: Int64
    var modified: TarTime
    /// The length of a file's content in bytes.
    var size: Int64 = 0
    /// The digest of a file's content, or of a symbolic link's target.
    var content = ContentDigest.none
    /// Extended attributes and other PAX records, sorted by key.
    var records: [TarRecord]?
    /// How many names it has.
    var names: UInt32 = 0
    /// The layer whose tar has the content, counted from 0 at the bottom.
    var layer: UInt16
    /// The entry of that layer that has the content, counted from 0.
    var entry: UInt32

    init(_ entry: TarEntry, _ kind: Kind, layer: UInt16, index: UInt32) {
        self.kind = kind
        mode = UInt16(truncatingIfNeeded: entry.mode & 0o7777)
        userID = entry.userID
        groupID = entry.groupID
        modified = entry.modified
        size = kind == .file ? entry.size : 0
        let sorted = entry.records.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        records = sorted.isEmpty ? nil : sorted
        self.layer = layer
        self.entry = index
    }

    /// A directory without an entry of its own, or one that layers above the tree replace: 0755, root's, of 1970.
    static func plainDirectory(layer: UInt16) -> FileRecord {
        FileRecord(
            TarEntry(kind: .directory, name: [], mode: 0o755, modified: TarTime(seconds: 0)), .directory, layer: layer,
            index: .max)
    }

    /// Whether a reader of the files could not tell them apart. It makes no difference which entry has their content,
    /// nor how many names they have.
    func isSame(as other: FileRecord, times: DeltaTimes) -> Bool {
        kind == other.kind && (mode == other.mode || kind == .symbolicLink) && userID == other.userID
            && groupID == other.groupID && size == other.size && content == other.content && records == other.records
            && (times == .ignored || modified == other.modified)
    }
}

/// A SHA-256 stored inline, without the heap allocation of an array.
struct ContentDigest: Hashable, Sendable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    static let none = ContentDigest(words: (0, 0, 0, 0))

    private init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

    init(_ hasher: DigestHasher) {
        var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &words) { $0.copyBytes(from: hasher.bytes()) }
        self.words = words
    }

    init(of bytes: [UInt8]) {
        var hasher = DigestHasher(.sha256)
        hasher.update(bytes)
        self.init(hasher)
    }

    static func == (left: ContentDigest, right: ContentDigest) -> Bool { left.words == right.words }

    func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

/// Whether modification times make a difference.
public enum DeltaTimes: String, Sendable, Hashable, CaseIterable {
    case compared
    /// A file that differs in its time alone stays as it is.
    case ignored
}
