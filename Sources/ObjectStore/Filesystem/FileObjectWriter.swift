import Runtime
import Synchronization

/// A streamed object being written to a file in `tmp`.
final class FileObjectWriter: ObjectWriter {
    /// After so many bytes the kernel is asked to begin writing to the disk, so that `finish` has little left to wait
    /// for.
    private static let writebackStep: Int64 = 8 << 20
    /// How many bytes are gathered before a thread is woken to write them to the file.
    private static let gathered = 256 << 10

    private struct State {
        /// nil while the writer rests, and once it has ended.
        var file: OpenFile?
        var hasEnded = false
        /// Bytes were lost, so whatever is written after them must not become an object.
        var hasFailed = false
        /// Bytes in the file.
        var size: Int64 = 0
        /// Chunks that are not in the file yet, in order. `pendingCount` is how many bytes they have together.
        var pending: [[UInt8]] = []
        var pendingCount = 0
        var writtenBack: Int64 = 0
    }

    private let key: ObjectKey
    private let name: String
    private let engine: StoreEngine
    private let use: ObjectUse
    private let state: Mutex<State>

    init(_ file: OpenFile, name: String, key: ObjectKey, use: ObjectUse, _ engine: StoreEngine) {
        self.key = key
        self.use = use
        self.name = name
        self.engine = engine
        state = Mutex(State(file: file))
    }

    deinit {
        if !state.withLock({ $0.hasEnded }) { Self.remove(name, engine) }
    }

    func write(_ bytes: [UInt8]) async throws(ObjectStoreError) {
        guard !Task.isCancelled, engine.isOpen else {
            state.withLock { $0.hasFailed = true }
            throw .cancelled
        }
        let isEnough: Bool? = state.withLock { state in
            guard !state.hasEnded, !state.hasFailed else { return nil }
            state.pending.append(bytes)
            state.pendingCount += bytes.count
            return state.pendingCount >= Self.gathered
        }
        guard let isEnough else { throw .io("\(key) is no longer being written") }
        if isEnough { try await writePending() }
    }

    private func writePending() async throws(ObjectStoreError) {
        do throws(ObjectStoreError) { try await writeGathered() } catch {
            state.withLock { $0.hasFailed = true }
            throw error
        }
    }

    private func writeGathered() async throws(ObjectStoreError) {
        let (offset, chunks, count) = state.withLock { state in
            defer {
                state.pending = []
                state.pendingCount = 0
            }
            return (state.size, state.pending, state.pendingCount)
        }
        guard count > 0 else { return }
        let file = try await openFile()
        // The closures capture the descriptor alone: a pool thread may hold one after the task goes on, which must not
        // keep a removed file and its disk space in use. So this task keeps the file open until it returns.
        defer { withExtendedLifetime(file) {} }
        let (engine, descriptor) = (engine, file.descriptor)
        try await engine.change { () throws(ObjectStoreError) in
            try engine.admitting(count) { () throws(FileSystemError) in
                var offset = offset
                for chunk in chunks {
                    try chunk.withRawBytes { (bytes) throws(FileSystemError) in
                        try engine.files.write(descriptor, at: offset, bytes)
                    }
                    offset += Int64(chunk.count)
                }
            }
        }
        let writeback: (Int64, Int64)? = state.withLock { state in
            state.size = offset + Int64(count)
            let count = state.size - state.writtenBack
            guard count >= Self.writebackStep else { return nil }
            defer { state.writtenBack = state.size }
            return (state.writtenBack, count)
        }
        if let (start, count) = writeback {
            let use = use
            try await engine.writers.run { () throws(ObjectStoreError) in
                engine.files.startWriteback(descriptor, at: start, count: count)
                // Bytes whose writing began two steps ago have most likely reached the disk. Pages that have not stay
                // cached until `finish`.
                let arrived = start - Self.writebackStep
                if use == .rarely, arrived > 0 { engine.files.dropFromMemory(descriptor, at: 0, count: arrived) }
            }
        }
    }

    /// The file, opened again after a rest.
    private func openFile() async throws(ObjectStoreError) -> OpenFile {
        let (file, isOver) = state.withLock { ($0.file, $0.hasEnded || $0.hasFailed) }
        if isOver { throw engine.isOpen ? .io("\(key) is no longer being written") : .cancelled }
        if let file { return file }
        let (engine, path) = (engine, StorePaths.temporary(name))
        let opened = try await engine.writers.run { () throws(ObjectStoreError) in
            try withStoreErrors { () throws(FileSystemError) in
                OpenFile(try engine.files.open(path, .existing), engine.files)
            }
        }
        state.withLock { if !$0.hasEnded { $0.file = opened } }
        return opened
    }

    func rest() async throws(ObjectStoreError) {
        try await writePending()
        state.withLock { $0.file = nil }
    }

    func finish() async throws(ObjectStoreError) -> ObjectInfo {
        let file: OpenFile
        do throws(ObjectStoreError) {
            file = try await openFile()
            try await writePending()
        } catch {
            await abort()
            throw error
        }
        guard let size = end() else { throw .io("\(key) is no longer being written") }
        let (engine, key, name, use) = (engine, key, name, use)
        let information = FileInformation(size: size, modified: engine.stamp())
        let sequence: UInt64
        do throws(ObjectStoreError) {
            try await engine.writers.run { () throws(ObjectStoreError) in
                try withStoreErrors { () throws(FileSystemError) in
                    try engine.files.setModified(file.descriptor, nanoseconds: information.modified)
                    try engine.files.sync(file.descriptor, dataOnly: false)
                    if use == .rarely { engine.files.dropFromMemory(file.descriptor, at: 0, count: size) }
                }
            }
            sequence = try await engine.change { () throws(ObjectStoreError) in
                try engine.link(name, information, to: key)
            }
        } catch {
            await remove()
            throw error
        }
        // The journal refers to the file from here on. A later flush may succeed where this one fails, so the outcome
        // is unknown.
        do throws(ObjectStoreError) { try await engine.flushed(through: sequence) } catch {
            switch error {
            case .io(let reason), .permission(let reason): throw .unknown(reason)
            default: throw error
            }
        }
        return ObjectInfo(key: key, information)
    }

    func abort() async {
        if end() != nil { await remove() }
    }

    /// Marks the writer as ended.
    /// - Returns: the file's size in bytes; nil if the writer had ended before.
    private func end() -> Int64? {
        state.withLock { state in
            guard !state.hasEnded else { return nil }
            state.hasEnded = true
            state.file = nil
            return state.size
        }
    }

    private func remove() async {
        let (engine, name) = (engine, name)
        try? await engine.writers.run { () throws(ObjectStoreError) in Self.remove(name, engine) }
    }

    private static func remove(_ name: String, _ engine: StoreEngine) {
        try? engine.files.removeIfThere(StorePaths.temporary(name))
    }
}
