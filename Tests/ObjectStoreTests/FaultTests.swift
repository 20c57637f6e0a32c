import Glibc
import Synchronization
import Testing

@testable import ObjectStore

/// Faults of the file system below the real driver.
@Suite("Faults of the file system")
struct FaultTests {
    private static func open(_ files: SimulatedFileSystem) throws -> FilesystemObjectStore {
        var options = FilesystemObjectStore.Options.small
        options.flushDelay = .seconds(60)
        return try FilesystemObjectStore(files: files, options: options, logger: .quiet)
    }

    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// Fails calls on paths that begin with a text until it is turned off.
    private static func failing(
        _ call: SimulatedFileSystem.Call, _ prefix: String, _ code: Int32
    ) -> @Sendable (SimulatedFileSystem.Call, String) -> Int32? {
        { $0 == call && $1.hasPrefix(prefix) ? code : nil }
    }

    @Test(
        "When the journal can't be written syncs and changes fail until it can, and nothing is lost",
        arguments: [
            (SimulatedFileSystem.Call.sync, EIO), (.write, EIO), (.write, ENOSPC), (.allocate, ENOSPC),
            (.syncDirectory, EIO), (.open, EACCES), (.allocate, EDQUOT), (.open, EROFS),
        ])
    func journal(call: SimulatedFileSystem.Call, code: Int32) async throws {
        let files = SimulatedFileSystem()
        let store = try Self.open(files)
        files.setFault(Self.failing(call, "journal", code))
        try await store.put(ObjectKey("a"), Self.bytes("one"), if: .always)
        let expected = ObjectStoreError(FileSystemError(code: code, action: ""))
        func isExpected(_ error: any Error) -> Bool {
            switch (error as? ObjectStoreError, expected) {
            case (.full, .full), (.permission, .permission), (.io, .io): true
            default: false
            }
        }
        for _ in 0..<2 {
            await #expect(performing: { try await store.sync() }, throws: isExpected)
            await #expect(
                performing: { try await store.put(ObjectKey("b"), [1], if: .always) }, throws: isExpected)
            await #expect(
                performing: { try await store.delete(ObjectKey("a"), ifVersion: nil) }, throws: isExpected)
        }
        #expect(try await store.get(ObjectKey("a")).bytes == Self.bytes("one"))
        #expect(try await store.list(prefix: "", startAfter: nil, limit: 10).map(\.key.text) == ["a"])
        files.setFault(nil)
        try await store.put(ObjectKey("b"), Self.bytes("two"), if: .always)
        try await store.sync()

        var random = SeededRandom(seed: 1)
        let reopened = try Self.open(SimulatedFileSystem(files.diskAfterPowerCut(&random)))
        #expect(try await reopened.get(ObjectKey("a")).bytes == Self.bytes("one"))
        #expect(try await reopened.get(ObjectKey("b")).bytes == Self.bytes("two"))
        try await reopened.close()
    }

    @Test("After a write of a streamed object failed, nothing that lacks its bytes becomes an object")
    func streamed() async throws {
        let files = SimulatedFileSystem()
        let store = try Self.open(files)
        let key = try ObjectKey("streamed")
        let writer = try await store.writer(for: key, use: .soon)
        files.setFault(Self.failing(.write, "tmp", ENOSPC))
        // More than what is gathered in memory.
        await #expect(throws: ObjectStoreError.full) { try await writer.write([UInt8](repeating: 1, count: 1 << 20)) }
        files.setFault(nil)
        await #expect(throws: ObjectStoreError.self) { try await writer.write([UInt8](repeating: 2, count: 1 << 20)) }
        await #expect(throws: ObjectStoreError.self) { _ = try await writer.finish() }
        await #expect(throws: ObjectStoreError.missing(key)) { _ = try await store.head(key) }
        try await store.close()
    }

    @Test(
        "After a flush of the journal failed its segment is not written again, since what the kernel dropped stays lost"
    )
    func failedSegment() async throws {
        let files = SimulatedFileSystem()
        let store = try Self.open(files)
        try await store.put(ObjectKey("a"), [1], if: .always)
        try await store.sync()
        let before = try files.names(in: "journal")
        files.setFault(Self.failing(.sync, "journal", EIO))
        try await store.put(ObjectKey("b"), [2], if: .always)
        await #expect(throws: ObjectStoreError.self) { try await store.sync() }
        let written = Mutex<Set<String>>([])
        files.setFault { (call, path) in
            if call == .write, path.hasPrefix("journal") { written.withLock { _ = $0.insert(path) } }
            return nil
        }
        try await store.put(ObjectKey("c"), [3], if: .always)
        try await store.sync()
        #expect(written.withLock { $0.isDisjoint(with: before.map { "journal/" + $0 }) && !$0.isEmpty })
        try await store.close()
    }

    @Test("A change that can't be applied stays in the journal, is seen by readers, and is applied later")
    func apply() async throws {
        let files = SimulatedFileSystem()
        let store = try Self.open(files)
        files.setFault(Self.failing(.rename, "objects", EIO))
        for number in 0..<10 { try await store.put(ObjectKey("f/\(number)"), [UInt8(number)], if: .always) }
        try await store.sync()
        await store.applied()
        #expect(try files.look(at: "objects/f/3") == .missing)
        #expect(try await store.get(ObjectKey("f/3")).bytes == [3])
        #expect(try await store.list(prefix: "f/", startAfter: nil, limit: 100).count == 10)
        #expect(try await store.listComponents(below: "", startAfter: nil, limit: 100) == ["f"])

        var random = SeededRandom(seed: 1)
        let reopened = try Self.open(SimulatedFileSystem(files.diskAfterPowerCut(&random)))
        #expect(try await reopened.list(prefix: "f/", startAfter: nil, limit: 100).count == 10)
        try await reopened.close()
    }

    @Test("A stuck tree stops changes before memory or the journal grow without bound, and they go on by themselves")
    func stuck() async throws {
        let files = SimulatedFileSystem()
        var options = FilesystemObjectStore.Options.small
        options.pendingObjects = 50
        let store = try FilesystemObjectStore(files: files, options: options, logger: .quiet)
        files.setFault(Self.failing(.rename, "objects", EIO))
        var count = 0
        await #expect(
            performing: {
                while count < 500 {
                    try await store.put(ObjectKey("f/\(count)"), [1], if: .always)
                    count += 1
                }
            }, throws: { if case .io? = $0 as? ObjectStoreError { true } else { false } })
        #expect(count == 50)
        files.setFault(nil)
        await store.applied()
        try await store.put(ObjectKey("f/more"), [1], if: .always)
        #expect(try await store.list(prefix: "", startAfter: nil, limit: 1000).count == 51)
        try await store.close()
    }

    @Test("When the tree can't be flushed it is written again from the journal before the journal is dropped")
    func checkpoint() async throws {
        let files = SimulatedFileSystem()
        let store = try Self.open(files)
        let syncs = Mutex(0)
        let renamed = Mutex<[String: Int]>([:])
        files.setFault { (call, path) in
            if call == .rename { renamed.withLock { $0[path, default: 0] += 1 } }
            guard call == .syncAll else { return nil }
            return syncs.withLock { count in
                count += 1
                return count == 1 ? EIO : nil
            }
        }
        // More than a segment, so that the first one is to be dropped.
        for number in 0..<40 {
            try await store.put(ObjectKey("f/\(number)"), [UInt8](repeating: UInt8(number), count: 3000), if: .always)
            try await store.sync()
            await store.applied()
        }
        #expect(syncs.withLock { $0 } > 1)
        #expect(renamed.withLock { $0["objects/f/1"] } == 2)
        for number in 0..<40 {
            #expect(try await store.get(ObjectKey("f/\(number)")).bytes.first == UInt8(number))
        }
        try await store.close()
        #expect(try files.names(in: "journal") == [])
    }

    @Test("A stream whose bytes can't be flushed fails and leaves nothing")
    func stream() async throws {
        let files = SimulatedFileSystem()
        let store = try Self.open(files)
        files.setFault(Self.failing(.sync, "tmp", EIO))
        let writer = try await store.writer(for: ObjectKey("s"))
        try await writer.write([1, 2, 3])
        await #expect(throws: ObjectStoreError.io("flushing: Input/output error")) {
            _ = try await writer.finish()
        }
        #expect(try files.names(in: "tmp") == [])
        await #expect(throws: try ObjectStoreError.missing(ObjectKey("s"))) { try await store.head(ObjectKey("s")) }
        files.setFault(nil)
        try await store.put(ObjectKey("s"), [1], if: .absent)
        try await store.close()
        #expect(files.openFiles == 0)
    }

    @Test("A store whose directory can't be written does not open", arguments: [EROFS, EACCES])
    func opening(code: Int32) throws {
        let files = SimulatedFileSystem()
        files.setFault { (call, _) in call == .makeDirectory ? code : nil }
        #expect { _ = try Self.open(files) } throws: { error in
            if case .permission? = error as? ObjectStoreError { true } else { false }
        }
    }

    @Test("After a close calls fail as cancelled, and what was open stays readable")
    func closed() async throws {
        let store = try Self.open(SimulatedFileSystem())
        try await store.put(ObjectKey("a"), [1, 2], if: .always)
        _ = try await store.sync()
        await store.applied()
        let reader = try await store.open(ObjectKey("a"))
        let writer = try await store.writer(for: ObjectKey("s"))
        try await store.close()
        try await store.close()
        await #expect(throws: ObjectStoreError.cancelled) { try await store.put(ObjectKey("b"), [1], if: .always) }
        await #expect(throws: ObjectStoreError.cancelled) { try await store.get(ObjectKey("a")) }
        await #expect(throws: ObjectStoreError.cancelled) { try await store.head(ObjectKey("a")) }
        await #expect(throws: ObjectStoreError.cancelled) { try await store.delete(ObjectKey("a"), ifVersion: nil) }
        await #expect(throws: ObjectStoreError.cancelled) {
            try await store.list(prefix: "", startAfter: nil, limit: 1)
        }
        await #expect(throws: ObjectStoreError.cancelled) { try await writer.write([1]) }
        await #expect(throws: ObjectStoreError.cancelled) { _ = try await writer.finish() }
        #expect(try await reader.read(at: 0, maximum: 10) == [1, 2])
        await reader.close()
    }
}
