import Glibc

@testable import ObjectStore

/// A disk with a cache: what programs see, what is surely on the disk, and what may be.
struct SimulatedDisk: Sendable {
    struct File: Sendable {
        static let blockSize = 512

        var bytes: [UInt8] = []
        var modified: Int64 = 0
        private var durable: [UInt8] = []
        private var durableModified: Int64 = 0
        /// Blocks that differ from the durable ones, perhaps.
        private var dirty: Set<Int> = []

        var information: FileInformation { FileInformation(size: Int64(bytes.count), modified: modified) }

        mutating func grow(to size: Int) {
            if size > bytes.count { bytes.append(contentsOf: [UInt8](repeating: 0, count: size - bytes.count)) }
        }

        mutating func write(_ new: UnsafeRawBufferPointer, at offset: Int) {
            grow(to: offset + new.count)
            bytes.replaceSubrange(offset..<offset + new.count, with: new)
            guard !new.isEmpty else { return }
            dirty.formUnion(offset / Self.blockSize...(offset + new.count - 1) / Self.blockSize)
        }

        mutating func flush(dataOnly: Bool) {
            durable.append(contentsOf: [UInt8](repeating: 0, count: max(0, bytes.count - durable.count)))
            for block in dirty { durable.replaceSubrange(range(block), with: bytes[range(block)]) }
            dirty = []
            if !dataOnly { durableModified = modified }
        }

        /// Bytes were lost since the last flush of this file, which the next one reports, once.
        private(set) var hasLost = false

        /// What a failed flush does: programs still see the bytes, but nothing will ever write them.
        mutating func loseDirty() {
            hasLost = hasLost || !dirty.isEmpty
            dirty = []
        }

        mutating func reportLoss() -> Bool {
            defer { hasLost = false }
            return hasLost
        }

        private func range(_ block: Int) -> Range<Int> {
            block * Self.blockSize..<min((block + 1) * Self.blockSize, bytes.count)
        }

        var durableOnly: File {
            var file = self
            file.bytes = durable
            file.modified = durableModified
            file.dirty = []
            return file
        }

        /// Any part of what was not flushed.
        func afterPowerCut(_ random: inout SeededRandom) -> File {
            var file = File()
            file.bytes = durable
            if Bool.random(using: &random) { file.grow(to: bytes.count) }
            for block in dirty.sorted() {
                // All or nothing for most, so that whole frames without their predecessors are seen as well.
                guard Int.random(in: 0..<4, using: &random) > 0 else { continue }
                var range = range(block)
                if Int.random(in: 0..<8, using: &random) == 0 {
                    range = range.lowerBound..<Int.random(in: range, using: &random)
                }
                file.grow(to: range.upperBound)
                file.bytes.replaceSubrange(range, with: bytes[range])
            }
            file.modified = Bool.random(using: &random) ? modified : durableModified
            file.durable = file.bytes
            file.durableModified = file.modified
            return file
        }
    }

    enum Inode: Sendable {
        case file(File)
        case directory([String: Int])
    }

    /// A change of directory entries: all of it or nothing gets to the disk.
    private struct Change: Sendable {
        struct Entry: Sendable {
            let directory: Int
            let name: String
            /// nil removes the entry.
            let inode: Int?
        }
        let entries: [Entry]
    }

    private static let root = 0

    /// As programs see them.
    var inodes: [Int: Inode] = [root: .directory([:])]
    /// Directory entries that are surely on the disk.
    private var durable: [Int: [String: Int]] = [root: [:]]
    private var changes: [Change] = []
    private var nextInode = 1

    // MARK: Looking

    private func directory(_ inode: Int) -> [String: Int]? {
        if case .directory(let entries)? = inodes[inode] { entries } else { nil }
    }

    func find(_ path: String) throws(FileSystemError) -> Int? {
        var inode = Self.root
        for name in path.split(separator: "/") {
            guard let entries = directory(inode) else {
                throw FileSystemError(code: ENOTDIR, action: "looking at \(path)")
            }
            guard let next = entries[String(name)] else { return nil }
            inode = next
        }
        return inode
    }

    private func parent(_ path: String) throws(FileSystemError) -> (inode: Int, name: String) {
        var names = path.split(separator: "/").map(String.init)
        let name = names.popLast() ?? ""
        guard let inode = try find(names.joined(separator: "/")) else {
            throw FileSystemError(code: ENOENT, action: "looking at \(path)")
        }
        guard directory(inode) != nil else { throw FileSystemError(code: ENOTDIR, action: "looking at \(path)") }
        return (inode, name)
    }

    func look(at path: String) throws(FileSystemError) -> PathState {
        let inode: Int?
        do { inode = try find(path) } catch { return .belowFile }
        switch inode.flatMap({ inodes[$0] }) {
        case .file(let file): return .file(file.information)
        case .directory: return .directory
        case nil: return .missing
        }
    }

    func entries(of path: String) throws(FileSystemError) -> [(String, EntryKind)] {
        guard let inode = try find(path) else { throw FileSystemError(code: ENOENT, action: "reading \(path)") }
        guard let entries = directory(inode) else { throw FileSystemError(code: ENOTDIR, action: "reading \(path)") }
        return entries.map { ($0.key, directory($0.value) == nil ? .file : .directory) }
    }

    // MARK: Changing

    private mutating func change(_ entries: [Change.Entry]) {
        for entry in entries {
            guard var names = directory(entry.directory) else { continue }
            names[entry.name] = entry.inode
            inodes[entry.directory] = .directory(names)
        }
        changes.append(Change(entries: entries))
    }

    private mutating func make(_ inode: Inode, at path: String) throws(FileSystemError) -> Int {
        let (directory, name) = try parent(path)
        let number = nextInode
        nextInode += 1
        inodes[number] = inode
        if case .directory = inode { durable[number] = [:] }
        change([.init(directory: directory, name: name, inode: number)])
        return number
    }

    mutating func makeFile(_ path: String) throws(FileSystemError) -> Int { try make(.file(File()), at: path) }

    mutating func makeDirectory(_ path: String) throws(FileSystemError) {
        switch try look(at: path) {
        case .missing: _ = try make(.directory([:]), at: path)
        case .belowFile: throw FileSystemError(code: ENOTDIR, action: "making \(path)")
        // As mkdirat does: there is something, whatever it is.
        case .directory, .file, .foreign: return
        }
    }

    mutating func remove(_ path: String) throws(FileSystemError) {
        let (directory, name) = try parent(path)
        guard let inode = try find(path) else { throw FileSystemError(code: ENOENT, action: "removing \(path)") }
        guard self.directory(inode) == nil else { throw FileSystemError(code: EISDIR, action: "removing \(path)") }
        change([.init(directory: directory, name: name, inode: nil)])
    }

    mutating func removeDirectory(_ path: String) throws(FileSystemError) {
        let (directory, name) = try parent(path)
        guard let inode = try find(path) else { throw FileSystemError(code: ENOENT, action: "removing \(path)") }
        guard let entries = self.directory(inode) else {
            throw FileSystemError(code: ENOTDIR, action: "removing \(path)")
        }
        guard entries.isEmpty else { throw FileSystemError(code: ENOTEMPTY, action: "removing \(path)") }
        change([.init(directory: directory, name: name, inode: nil)])
    }

    mutating func rename(_ old: String, to new: String) throws(FileSystemError) {
        let (oldDirectory, oldName) = try parent(old)
        let (newDirectory, newName) = try parent(new)
        guard let inode = try find(old) else { throw FileSystemError(code: ENOENT, action: "renaming \(old)") }
        if let there = try find(new) {
            if there == inode { return }
            if directory(there) != nil { throw FileSystemError(code: EISDIR, action: "renaming \(old) to \(new)") }
        }
        change([
            .init(directory: newDirectory, name: newName, inode: inode),
            .init(directory: oldDirectory, name: oldName, inode: nil),
        ])
    }

    // MARK: Flushing

    mutating func flushDirectory(_ path: String) throws(FileSystemError) {
        guard let inode = try find(path) else { throw FileSystemError(code: ENOENT, action: "flushing \(path)") }
        flush { change in change.entries.contains { $0.directory == inode } }
    }

    /// A flush that failed for files' bytes.
    mutating func loseDirty() {
        for (number, inode) in inodes {
            guard case .file(var file) = inode else { continue }
            file.loseDirty()
            inodes[number] = .file(file)
        }
    }

    mutating func flushAll() {
        flush { _ in true }
        for (number, inode) in inodes {
            guard case .file(var file) = inode else { continue }
            file.flush(dataOnly: false)
            inodes[number] = .file(file)
        }
    }

    /// Brings changes to the disk, and before each of them those that concern the same entries and those that made the
    /// directories it is in.
    private mutating func flush(_ isWanted: (Change) -> Bool) {
        var wanted = changes.map(isWanted)
        var names: [Int: Set<String>] = [:]
        var directories: Set<Int> = []
        for index in changes.indices.reversed() {
            let entries = changes[index].entries
            if entries.contains(where: { names[$0.directory]?.contains($0.name) ?? false }) { wanted[index] = true }
            if entries.contains(where: { $0.inode.map(directories.contains) ?? false }) { wanted[index] = true }
            guard wanted[index] else { continue }
            for entry in entries {
                names[entry.directory, default: []].insert(entry.name)
                directories.insert(entry.directory)
            }
        }
        for index in changes.indices where wanted[index] {
            for entry in changes[index].entries { durable[entry.directory]?[entry.name] = entry.inode }
        }
        changes = zip(changes, wanted).filter { !$0.1 }.map(\.0)
    }

    /// What is found when power is back: some of the changes that were not flushed, in the order in which they were
    /// made (as journaling file systems have it) or here and there.
    func afterPowerCut(_ random: inout SeededRandom) -> SimulatedDisk {
        var disk = self
        if Bool.random(using: &random) {
            var left = changes.isEmpty ? 0 : Int.random(in: 0...changes.count, using: &random)
            disk.flush { _ in
                left -= 1
                return left >= 0
            }
        } else {
            let chosen = changes.map { _ in Bool.random(using: &random) }
            var index = -1
            disk.flush { _ in
                index += 1
                return chosen[index]
            }
        }
        var after = SimulatedDisk()
        after.nextInode = nextInode
        after.take(Self.root, from: disk, &random)
        return after
    }

    /// Only what was flushed.
    func afterWorstPowerCut() -> SimulatedDisk {
        var random = SeededRandom(seed: 0)
        var disk = self
        disk.changes = []
        for (number, inode) in inodes {
            if case .file(let file) = inode { disk.inodes[number] = .file(file.durableOnly) }
        }
        return disk.afterPowerCut(&random)
    }

    private mutating func take(_ inode: Int, from disk: SimulatedDisk, _ random: inout SeededRandom) {
        switch disk.inodes[inode] {
        case .file(let file):
            if inodes[inode] == nil { inodes[inode] = .file(file.afterPowerCut(&random)) }
        case .directory, nil:
            let entries = disk.durable[inode] ?? [:]
            inodes[inode] = .directory(entries)
            durable[inode] = entries
            for child in entries.sorted(by: { $0.key < $1.key }) { take(child.value, from: disk, &random) }
        }
    }
}
