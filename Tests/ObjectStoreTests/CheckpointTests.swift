import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ObjectStore

/// When a segment of the journal may be dropped, in the moments that random tests seldom meet.
@Suite("Checkpoints")
struct CheckpointTests {
    private static func open(
        _ files: SimulatedFileSystem, segmentBytes: Int = 64 << 10
    ) throws -> FilesystemObjectStore {
        var options = FilesystemObjectStore.Options.small
        options.segmentBytes = segmentBytes
        options.flushDelay = .seconds(600)
        return try FilesystemObjectStore(files: files, options: options, logger: .quiet)
    }

    /// Puts and syncs until the journal has begun another segment.
    private static func fillSegment(_ store: FilesystemObjectStore, _ files: SimulatedFileSystem) async throws {
        let before = try files.names(in: "journal")
        for number in 0..<100 where try files.names(in: "journal").count == before.count {
            try await store.put(ObjectKey("filler/\(number)"), [UInt8](repeating: 1, count: 3000), if: .always)
            try await store.sync()
        }
        try #require(files.names(in: "journal").count > before.count)
    }

    /// What is on the disk after a power cut that keeps as little as it may.
    private static func reopen(_ files: SimulatedFileSystem) throws -> FilesystemObjectStore {
        files.cutPower()
        return try open(SimulatedFileSystem(files.durableDisk()))
    }

    @Test("A durable change that a newer one covers stays in the journal until the newer one is applied")
    func covered() async throws {
        let files = SimulatedFileSystem()
        let store = try Self.open(files)
        let key = try ObjectKey("key")
        let gate = Gate()
        files.setFault { (call, path) in
            if call == .rename, path == "objects/held" { gate.pass() }
            return nil
        }
        try await store.put(ObjectKey("held"), [1], if: .always)
        try await store.sync()
        await gate.reached()
        // The applier is busy; meanwhile a version becomes durable, its segment is full, and a newer version comes.
        try await store.put(key, [1], if: .always)
        try await store.sync()
        try await Self.fillSegment(store, files)
        try await store.put(key, [2, 2], if: .always)
        gate.open()
        await store.applied()
        await store.applied()
        #expect(try await store.get(key).bytes == [2, 2])
        #expect(try await Self.reopen(files).get(key).bytes == [1])
    }

    @Test("A lost version that a newer one covers stays in the journal until the newer one is applied")
    func lost() async throws {
        let files = SimulatedFileSystem()
        let store = try Self.open(files)
        let key = try ObjectKey("key")
        try await store.put(key, [UInt8](repeating: 7, count: 2000), if: .always)
        try await store.sync()
        await store.applied()
        let gate = Gate()
        let flushes = Atomic<Int>(0)
        files.setFault { (call, _) in
            guard call == .syncAll else { return nil }
            gate.pass()
            return flushes.wrappingAdd(1, ordering: .relaxed).oldValue == 0 ? EIO : nil
        }
        try await Self.fillSegment(store, files)
        await gate.reached()
        try await store.put(key, [2, 2], if: .always)
        gate.open()
        // One pass fails, one loads the journal again, one applies it, and one would drop it.
        for _ in 0..<4 { await store.applied() }
        #expect(try await Self.reopen(files).get(key).bytes == [UInt8](repeating: 7, count: 2000))
    }

    @Test("An object and the folder that takes its place are applied in one pass")
    func order() async throws {
        let files = SimulatedFileSystem()
        let store = try Self.open(files)
        try await store.put(ObjectKey("z"), [1], if: .always)
        try await store.put(ObjectKey("a/b"), [1], if: .always)
        try await store.sync()
        await store.applied()
        let renames = Mutex<[String: Int]>([:])
        files.setFault { (call, path) in
            if call == .rename { renames.withLock { $0[path, default: 0] += 1 } }
            return nil
        }
        try await store.delete(ObjectKey("z"), ifVersion: nil)
        try await store.put(ObjectKey("z/1"), [1], if: .always)
        try await store.delete(ObjectKey("a/b"), ifVersion: nil)
        try await store.put(ObjectKey("a"), [1], if: .always)
        try await store.sync()
        await store.applied()
        for path in ["objects/z/1", "objects/a"] {
            guard case .file = try files.look(at: path) else {
                Issue.record("\(path) is not there")
                continue
            }
        }
        // Once before its folder is made, and once after.
        #expect(renames.withLock { $0["objects/z/1"] } == 2)
        try await store.close()
    }

    @Test("What was replaced or deleted is soon in no file, though nothing is written any more")
    func age() async throws {
        try await withTemporaryDirectory { directory in
            var options = FilesystemObjectStore.Options()
            options.segmentAge = .milliseconds(20)
            let store = try FilesystemObjectStore(root: directory, options: options, logger: .quiet)
            for name in ["replaced", "deleted"] {
                try await store.put(ObjectKey(name), Array("a secret word".utf8), if: .always)
            }
            try await store.sync()
            #expect(try Self.files(with: "a secret word", in: directory) > 0)
            try await store.put(ObjectKey("replaced"), Array("nothing".utf8), if: .always)
            try await store.delete(ObjectKey("deleted"), ifVersion: nil)
            try await store.sync()
            try await waitUntil("it is gone") { try Self.files(with: "a secret word", in: directory) == 0 }
            #expect(try await store.get(ObjectKey("replaced")).bytes == Array("nothing".utf8))
            try await store.close()
        }
    }

    private static func files(with text: String, in directory: String) throws -> Int {
        try FileManager.default.subpathsOfDirectory(atPath: directory).count { name in
            FileManager.default.contents(atPath: "\(directory)/\(name)")?.range(of: Data(text.utf8)) != nil
        }
    }
}
