import Foundation
import TestSupport
import Testing

@testable import ObjectStore

/// A journal that is gone, or was overwritten as a whole, while the store was not closed.
@Suite("A lost journal")
struct JournalLossTests {
    enum Damage: String, CaseIterable {
        case everything, directory, zeros, oldest, newest, newestZeros
    }

    private static func open(_ directory: String) throws -> FilesystemObjectStore {
        try FilesystemObjectStore(root: directory + "/store", logger: .quiet)
    }

    private static func open(_ files: SimulatedFileSystem, acceptsLoss: Bool = false) throws -> FilesystemObjectStore {
        var options = FilesystemObjectStore.Options()
        options.segmentBytes = 64 << 10
        options.segments = 64
        options.reserveBytes = 0
        options.acceptsLoss = acceptsLoss
        return try FilesystemObjectStore(files: files, options: options, logger: .quiet)
    }

    /// A disk after kill -9, with several segments that the tree did not durably take over.
    private static func crashed() async throws -> SimulatedFileSystem {
        let files = SimulatedFileSystem()
        let store = try open(files)
        try await store.put(ObjectKey("first"), [1], if: .always)
        try await store.sync()
        files.setFault { (call, _) in call == .syncAll ? EIO : nil }
        for number in 0..<40 {
            try await store.put(ObjectKey("object/\(number)"), [UInt8](repeating: 7, count: 5000), if: .always)
            try await store.sync()
        }
        await store.abandonAndWait()
        files.setFault(nil)
        return files
    }

    private static func apply(_ damage: Damage, _ files: SimulatedFileSystem) throws {
        let names = try files.names(in: StorePaths.journal).sorted().map { "\(StorePaths.journal)/\($0)" }
        try #require(names.count > 2)
        func zero(_ name: String) throws {
            let file = try files.open(name, .readWrite)
            defer { files.close(file) }
            let zeros = [UInt8](repeating: 0, count: Int(try files.information(of: file).size))
            try zeros.withRawBytes { (bytes) throws(FileSystemError) in try files.write(file, at: 0, bytes) }
        }
        let (first, last) = (try #require(names.first), try #require(names.last))
        switch damage {
        case .everything: for name in names { try files.remove(name) }
        case .directory:
            for name in names { try files.remove(name) }
            try files.removeDirectory(StorePaths.journal)
        case .zeros: for name in names { try zero(name) }
        case .oldest: try files.remove(first)
        case .newest: try files.remove(last)
        case .newestZeros: try zero(last)
        }
    }

    @Test("It is said and refused, and what is left is served once the loss is accepted", arguments: Damage.allCases)
    func lost(damage: Damage) async throws {
        let files = try await Self.crashed()
        try Self.apply(damage, files)
        // However often: nothing is forgotten by trying.
        for _ in 0..<2 {
            #expect { _ = try Self.open(files) } throws: { error in
                guard case .io(let text)? = error as? ObjectStoreError else { return false }
                return text.contains("was durable once") && text.contains("--accept-loss")
            }
        }
        let store = try Self.open(files, acceptsLoss: true)
        try await store.put(ObjectKey("later"), [2], if: .absent)
        try await store.sync()
        await store.abandonAndWait()
        // What was lost is not asked for again.
        let reopened = try Self.open(files)
        #expect(try await reopened.get(ObjectKey("later")).bytes == [2])
        if [.newest, .newestZeros].contains(damage) {
            #expect(try await reopened.get(ObjectKey("first")).bytes == [1])
        }
        try await reopened.close()
    }

    /// A directory as kill -9 leaves it, without its journal.
    private static func withoutJournal(_ directory: String) async throws {
        let store = try open(directory)
        try await store.put(ObjectKey("first"), [1], if: .always)
        try await store.sync()
        await store.abandonAndWait()
        try FileManager.default.removeItem(atPath: directory + "/store/journal")
    }

    @Test("A closed store needs no journal")
    func closed() async throws {
        try await withTemporaryDirectory { directory in
            let store = try Self.open(directory)
            try await store.put(ObjectKey("first"), [1], if: .always)
            try await store.close()
            try FileManager.default.removeItem(atPath: directory + "/store/journal")
            let reopened = try Self.open(directory)
            #expect(try await reopened.get(ObjectKey("first")).bytes == [1])
            try await reopened.close()
        }
    }

    @Test("Nothing is asked for after a version worked on the store that does not write down what the journal holds")
    func earlierVersion() async throws {
        try await withTemporaryDirectory { directory in
            // What it applied it dropped, and it named itself alone.
            try await Self.withoutJournal(directory)
            #expect(throws: ObjectStoreError.self) { _ = try Self.open(directory) }
            try Data("process 12, since 2026-11-30T10:00:00Z\n".utf8)
                .write(to: URL(fileURLWithPath: directory + "/store/lock"))
            try await Self.open(directory).close()
            try await Self.open(directory).close()
        }
    }

    @Test("Bounds that were cut off while they were written ask for nothing")
    func torn() async throws {
        try await withTemporaryDirectory { directory in
            try await Self.withoutJournal(directory)
            try Data(repeating: 1, count: 100).write(to: URL(fileURLWithPath: directory + "/store/bounds"))
            try await Self.open(directory).close()
        }
    }
}
