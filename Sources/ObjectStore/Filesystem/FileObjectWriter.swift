import Synchronization

/// A streamed object being written to a file in `tmp`.
final class FileObjectWriter: ObjectWriter {
    /// So often the kernel is asked to begin writing, so that `finish` has little left to wait for.
    private static let writebackStep: Int64 = 8 << 20

    private struct State {
        /// nil once the writer has ended.
        var file: OpenFile?
        var size: Int64 = 0
        var writtenBack: Int64 = 0
    }

    private let key: ObjectKey
    private let name: String
    private let engine: StoreEngine
    private let state: Mutex<State>

    init(_ file: OpenFile, name: String, key: ObjectKey, _ engine: StoreEngine) {
        self.key = key
        self.name = name
        self.engine = engine
        state = Mutex(State(file: file))
    }

    deinit {
        if state.withLock({ $0.file }) != nil { Self.remove(name, engine) }
    }

    func write(_ bytes: [UInt8]) async throws(ObjectStoreError) {
        if Task.isCancelled { throw .cancelled }
        let (file, offset) = state.withLock { ($0.file, $0.size) }
        guard let file else { throw .io("\(key) is no longer being written") }
        let engine = engine
        try await engine.change { () throws(ObjectStoreError) in
            try engine.admitting(bytes.count) { () throws(FileSystemError) in
                try bytes.withRawBytes { (bytes) throws(FileSystemError) in
                    try engine.files.write(file.descriptor, at: offset, bytes)
                }
            }
        }
        let writeback: (Int64, Int64)? = state.withLock { state in
            state.size = offset + Int64(bytes.count)
            let count = state.size - state.writtenBack
            guard count >= Self.writebackStep else { return nil }
            defer { state.writtenBack = state.size }
            return (state.writtenBack, count)
        }
        if let (start, count) = writeback {
            try await engine.writers.run { () throws(ObjectStoreError) in
                engine.files.startWriteback(file.descriptor, at: start, count: count)
            }
        }
    }

    func finish() async throws(ObjectStoreError) -> ObjectInfo {
        let (taken, size) = take()
        guard let file = taken else { throw .io("\(key) is no longer being written") }
        let (engine, key, name) = (engine, key, name)
        let information = FileInformation(size: size, modified: engine.stamp())
        let sequence: UInt64
        do throws(ObjectStoreError) {
            try await engine.writers.run { () throws(ObjectStoreError) in
                try withStoreErrors { () throws(FileSystemError) in
                    try engine.files.setModified(file.descriptor, nanoseconds: information.modified)
                    try engine.files.sync(file.descriptor, dataOnly: false)
                }
            }
            sequence = try await engine.change { () throws(ObjectStoreError) in
                try engine.link(name, information, to: key)
            }
        } catch {
            await remove()
            throw error
        }
        // From here on the file is the journal's: a flush that fails now may yet succeed later.
        try await engine.flushed(through: sequence)
        return ObjectInfo(key: key, information)
    }

    func abort() async {
        if take().file != nil { await remove() }
    }

    private func take() -> (file: OpenFile?, size: Int64) {
        state.withLock { state in
            defer { state.file = nil }
            return (state.file, state.size)
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
