import OCI
import Synchronization

/// Which frames the journal must hold, kept in a file beside it, so that a start sees when a segment is missing or was
/// overwritten from its beginning on: without its first frame a segment looks as if it had never been written.
///
/// The file is one block: magic (8), `first` (8), `last` (8), SHA-256 of these in hexadecimal (64). A segment costs two
/// flushes of it, one when it is begun and one before it is dropped.
final class JournalBounds: Sendable {
    struct Range: Hashable, Sendable {
        /// All frames before this one are in the tree.
        var first: UInt64
        /// The first frame of the newest segment that has one. If it is before `first`, the journal may be empty.
        var last: UInt64
    }

    private struct State {
        var range: Range
        /// What `last` was before.
        var previous: UInt64
        var isNew: Bool
    }

    private static let magic = Array("CSTNJBN1".utf8)
    private static let payload = 24

    private let files: any FileSystem
    private let state: Mutex<State>

    /// - Parameter isNew: whether there is no file yet.
    init(_ files: any FileSystem, _ range: Range, isNew: Bool) {
        self.files = files
        state = Mutex(State(range: range, previous: range.last, isNew: isNew))
    }

    /// A segment has its first frame durably.
    func hasBegun(_ frame: UInt64) throws(FileSystemError) {
        try state.withLock { (state) throws(FileSystemError) in
            state.previous = state.range.last
            state.range.last = frame
            try write(&state)
        }
    }

    /// A segment whose beginning was not acknowledged is about to be removed.
    func willRetract(_ frame: UInt64) throws(FileSystemError) {
        try state.withLock { (state) throws(FileSystemError) in
            guard state.range.last == frame else { return }
            // Unless it is written down, it is still to be retracted.
            var retracted = state
            retracted.range.last = state.previous
            try write(&retracted)
            state = retracted
        }
    }

    /// All segments up to a frame are about to be removed, since the tree has durably what they hold.
    func willDrop(before frame: UInt64) throws(FileSystemError) {
        try state.withLock { (state) throws(FileSystemError) in
            state.range.first = max(state.range.first, frame)
            try write(&state)
        }
    }

    /// Writes down what holds now.
    func write() throws(FileSystemError) {
        try state.withLock { (state) throws(FileSystemError) in try write(&state) }
    }

    private func write(_ state: inout State) throws(FileSystemError) {
        var bytes = Self.magic
        bytes.append(integer: state.range.first)
        bytes.append(integer: state.range.last)
        bytes.append(contentsOf: Self.checksum(bytes))
        bytes.append(contentsOf: [UInt8](repeating: 0, count: JournalFrame.blockSize - bytes.count))
        let file = try files.open(StorePaths.bounds, .readWrite)
        defer { files.close(file) }
        try bytes.withRawBytes { (bytes) throws(FileSystemError) in try files.write(file, at: 0, bytes) }
        try files.sync(file, dataOnly: !state.isNew)
        if state.isNew { try files.syncDirectory("") }
        state.isNew = false
    }

    /// Reads what was written down; nil if there is nothing, or nothing whole.
    static func read(_ files: some FileSystem) throws(FileSystemError) -> Range? {
        guard case .file = try files.look(at: StorePaths.bounds) else { return nil }
        let file = try files.open(StorePaths.bounds, .read)
        defer { files.close(file) }
        let bytes = try files.readAll(file, size: Int64(payload + 64))
        guard bytes.count == payload + 64, bytes.starts(with: magic),
            bytes[payload...].elementsEqual(checksum(Array(bytes[..<payload])))
        else { return nil }
        return bytes.withUnsafeBytes { bytes in
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[magic.count..<payload]))
            guard let first = reader.integer(UInt64.self), let last = reader.integer(UInt64.self) else { return nil }
            return Range(first: first, last: last)
        }
    }

    private static func checksum(_ bytes: [UInt8]) -> String.UTF8View {
        var hasher = DigestHasher(.sha256)
        bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.finish().hex.utf8
    }
}
