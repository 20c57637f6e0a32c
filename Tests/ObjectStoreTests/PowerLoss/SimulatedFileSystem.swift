import Glibc
import Synchronization

@testable import ObjectStore

/// A file system in memory that forgets what was not flushed when its power is cut.
///
/// File bytes survive where `sync` or `syncAll` came after them, names where `syncDirectory` or `syncAll` did. Of the
/// rest a random part survives: single blocks, torn blocks, the size without the bytes, some directory entries without
/// others. That is harsher than journaling file systems are. What the driver relies on is what they all give: a rename
/// is one step, and a directory is on the disk before what is in it.
final class SimulatedFileSystem: FileSystem {
    /// Flushes that a disk may lie about.
    enum Flush: CaseIterable, Sendable {
        case streamedBytes, journalBytes, temporaryNames, journalNames, tree
    }

    /// Calls that a test can make fail.
    enum Call: Sendable {
        case look, open, write, allocate, sync, syncDirectory, syncAll, rename, remove, makeDirectory
    }

    struct Options: Sendable {
        var ignored: Set<Flush> = []
        /// The number of the call during which power is cut.
        var cutAt = Int.max
        /// One flush in so many fails, and what it should have flushed is lost for good.
        var failedFlushes: (seed: UInt64, oneIn: Int)?
        /// An errno for calls that should fail.
        var fault: (@Sendable (Call, String) -> Int32?)?
    }

    fileprivate struct State {
        var disk = SimulatedDisk()
        var open: [Int32: (inode: Int, path: String)] = [:]
        var nextDescriptor: Int32 = 1000
        var calls = 0
        var isCut = false
        var options: Options
        var random: SeededRandom
        var lostFlushes = 0

        mutating func failsFlush() -> Bool {
            guard let oneIn = options.failedFlushes?.oneIn else { return false }
            let fails = Int.random(in: 0..<oneIn, using: &random) == 0
            if fails { lostFlushes += 1 }
            return fails
        }
    }

    private let state: Mutex<State>

    init(_ disk: SimulatedDisk = SimulatedDisk(), options: Options = Options()) {
        let random = SeededRandom(seed: options.failedFlushes?.seed ?? 0)
        state = Mutex(State(disk: disk, options: options, random: random))
    }

    /// How many calls were made.
    var calls: Int { state.withLock { $0.calls } }

    /// How many flushes failed.
    var lostFlushes: Int { state.withLock { $0.lostFlushes } }

    var isCut: Bool { state.withLock { $0.isCut } }

    var openFiles: Int { state.withLock { $0.open.count } }

    func setFault(_ fault: (@Sendable (Call, String) -> Int32?)?) { state.withLock { $0.options.fault = fault } }

    /// Cuts the power now, if that has not happened before.
    func cutPower() { state.withLock { $0.isCut = true } }

    /// What is surely on the disk.
    func durableDisk() -> SimulatedDisk { state.withLock { $0.disk.afterWorstPowerCut() } }

    /// What is on the disk after the power was cut.
    func diskAfterPowerCut(_ random: inout SeededRandom) -> SimulatedDisk {
        state.withLock { state in
            state.isCut = true
            return state.disk.afterPowerCut(&random)
        }
    }

    /// Runs a call unless there is no power any more. The call during which power is cut still reaches the cache.
    private func call<Value>(
        _ call: Call?, _ path: String, _ action: String, _ body: (inout State) throws(FileSystemError) -> Value
    ) throws(FileSystemError) -> Value {
        // Outside of the lock, since a fault may hold its thread up.
        if let call, let fault = state.withLock({ $0.options.fault }), let code = fault(call, path) {
            throw FileSystemError(code: code, action: action)
        }
        let outcome: Result<Value, FileSystemError> = state.withLock { state in
            guard !state.isCut else { return .failure(FileSystemError(code: EIO, action: "power is cut")) }
            state.calls += 1
            let outcome: Result<Value, FileSystemError>
            do throws(FileSystemError) { outcome = .success(try body(&state)) } catch { outcome = .failure(error) }
            if state.calls >= state.options.cutAt {
                state.isCut = true
                return .failure(FileSystemError(code: EIO, action: "power is cut"))
            }
            return outcome
        }
        return try outcome.get()
    }

    private func path(of file: Int32) -> String { state.withLock { $0.open[file]?.path ?? "" } }

    func open(_ path: String, _ access: FileAccess) throws(FileSystemError) -> Int32 {
        try call(access == .create ? .open : nil, path, "opening") { (state) throws(FileSystemError) in
            let inode: Int
            switch (try state.disk.find(path), access) {
            case (let found?, .read), (let found?, .readWrite), (let found?, .existing): inode = found
            case (.some, .create): throw FileSystemError(code: EEXIST, action: "opening \(path)")
            case (nil, .read), (nil, .existing): throw FileSystemError(code: ENOENT, action: "opening \(path)")
            case (nil, _): inode = try state.disk.makeFile(path)
            }
            state.nextDescriptor += 1
            state.open[state.nextDescriptor] = (inode, path)
            return state.nextDescriptor
        }
    }

    func close(_ file: Int32) { state.withLock { _ = $0.open.removeValue(forKey: file) } }

    func read(
        _ file: Int32, at offset: Int64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(FileSystemError) -> Int {
        let bytes = try call(nil, path(of: file), "reading") { (state) throws(FileSystemError) in
            let bytes = try state.file(file).bytes
            return offset < bytes.count ? Array(bytes[Int(offset)...].prefix(buffer.count)) : []
        }
        buffer.copyBytes(from: bytes)
        return bytes.count
    }

    func write(_ file: Int32, at offset: Int64, _ bytes: UnsafeRawBufferPointer) throws(FileSystemError) {
        try call(.write, path(of: file), "writing") { (state) throws(FileSystemError) in
            try state.change(file) { $0.write(bytes, at: Int(offset)) }
        }
    }

    func allocate(_ file: Int32, size: Int64) throws(FileSystemError) {
        try call(.allocate, path(of: file), "allocating") { (state) throws(FileSystemError) in
            try state.change(file) { $0.grow(to: Int(size)) }
        }
    }

    func startWriteback(_ file: Int32, at offset: Int64, count: Int64) {}
    func dropFromMemory(_ file: Int32, at offset: Int64, count: Int64) {}

    func setModified(_ file: Int32, nanoseconds: Int64) throws(FileSystemError) {
        try call(nil, path(of: file), "setting a time") { (state) throws(FileSystemError) in
            try state.change(file) { $0.modified = nanoseconds }
        }
    }

    func sync(_ file: Int32, dataOnly: Bool) throws(FileSystemError) {
        let path = path(of: file)
        try call(.sync, path, "flushing") { (state) throws(FileSystemError) in
            let flush: Flush = path.hasPrefix(StorePaths.journal) ? .journalBytes : .streamedBytes
            if state.options.ignored.contains(flush) { return }
            if state.failsFlush() { try state.change(file) { $0.loseDirty() } }
            if try state.change(file, { $0.reportLoss() }) { throw FileSystemError(code: EIO, action: "flushing") }
            try state.change(file) { $0.flush(dataOnly: dataOnly) }
        }
    }

    func syncDirectory(_ path: String) throws(FileSystemError) {
        try call(.syncDirectory, path, "flushing") { (state) throws(FileSystemError) in
            let flush: Flush = path == StorePaths.temporary ? .temporaryNames : .journalNames
            if state.options.ignored.contains(flush) { return }
            try state.disk.flushDirectory(path)
        }
    }

    func syncAll() throws(FileSystemError) {
        do throws(FileSystemError) {
            try call(.syncAll, "", "flushing") { (state) throws(FileSystemError) in
                if state.failsFlush() { throw FileSystemError(code: EIO, action: "flushing") }
                if !state.options.ignored.contains(.tree) { state.disk.flushAll() }
            }
        } catch {
            state.withLock { if !$0.isCut { $0.disk.loseDirty() } }
            throw error
        }
    }

    func information(of file: Int32) throws(FileSystemError) -> FileInformation {
        try call(nil, "", "looking") { (state) throws(FileSystemError) in try state.file(file).information }
    }

    func look(at path: String) throws(FileSystemError) -> PathState {
        try call(.look, path, "looking") { (state) throws(FileSystemError) in try state.disk.look(at: path) }
    }

    func makeDirectory(_ path: String) throws(FileSystemError) {
        try call(.makeDirectory, path, "making") { (state) throws(FileSystemError) in
            try state.disk.makeDirectory(path)
        }
    }

    func removeDirectory(_ path: String) throws(FileSystemError) {
        try call(nil, path, "removing") { (state) throws(FileSystemError) in try state.disk.removeDirectory(path) }
    }

    func remove(_ path: String) throws(FileSystemError) {
        try call(.remove, path, "removing") { (state) throws(FileSystemError) in try state.disk.remove(path) }
    }

    func removeIfThere(_ names: [String], in directory: String) throws(FileSystemError) {
        for name in names {
            do { try remove("\(directory)/\(name)") } catch {
                if !error.isMissing, !error.isDirectory { throw error }
            }
        }
    }

    func rename(_ old: String, to new: String) throws(FileSystemError) {
        try call(.rename, new, "renaming") { (state) throws(FileSystemError) in try state.disk.rename(old, to: new) }
    }

    func entries(
        of directory: String, _ each: (UnsafeRawBufferPointer, EntryKind) -> Void
    ) throws(FileSystemError) {
        let entries = try call(nil, directory, "reading") { (state) throws(FileSystemError) in
            try state.disk.entries(of: directory)
        }
        for (name, kind) in entries { Array(name.utf8).withUnsafeBytes { each($0, kind) } }
    }

    func space() throws(FileSystemError) -> FileSystemSpace {
        try call(nil, "", "asking for space") { (_) throws(FileSystemError) in
            FileSystemSpace(bytes: 1 << 40, hasFreeFiles: true, isReadOnly: false)
        }
    }

    func settle() {}
}

extension SimulatedFileSystem.State {
    fileprivate func file(_ descriptor: Int32) throws(FileSystemError) -> SimulatedDisk.File {
        guard let inode = open[descriptor]?.inode else { throw FileSystemError(code: EBADF, action: "using a file") }
        guard case .file(let file)? = disk.inodes[inode] else {
            throw FileSystemError(code: EISDIR, action: "using a file")
        }
        return file
    }

    fileprivate mutating func change<Value>(
        _ descriptor: Int32, _ body: (inout SimulatedDisk.File) -> Value
    ) throws(FileSystemError) -> Value {
        var file = try file(descriptor)
        guard let inode = open[descriptor]?.inode else { throw FileSystemError(code: EBADF, action: "using a file") }
        disk.inodes[inode] = nil
        defer { disk.inodes[inode] = .file(file) }
        return body(&file)
    }
}
