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

    private static func open(_ directory: String, acceptsLoss: Bool = false) throws -> FilesystemObjectStore {
        var options = FilesystemObjectStore.Options()
        options.segmentBytes = 64 << 10
        options.segmentAge = .seconds(3600)
        options.segments = 64
        options.reserveBytes = 0
        options.acceptsLoss = acceptsLoss
        return try FilesystemObjectStore(root: directory + "/store", options: options, logger: .quiet)
    }

    /// A store that ended as with kill -9, with several segments whose changes are durable in the journal alone.
    private static func crashed(_ directory: String) async throws -> [String] {
        let store = try open(directory)
        try await store.put(ObjectKey("first"), [1], if: .always)
        try await store.sync()
        // As long as a reader of the tree looks on, the applier waits.
        let lock = Gate()
        Thread.detachNewThread { store.engine.tree.read { lock.pass() } }
        await lock.reached()
        for number in 0..<40 {
            try await store.put(ObjectKey("object/\(number)"), [UInt8](repeating: 7, count: 5000), if: .always)
            try await store.sync()
        }
        store.engine.abandon()
        lock.open()
        await store.abandonAndWait()
        let names = try FileManager.default.contentsOfDirectory(atPath: directory + "/store/journal").sorted()
        try #require(names.count > 2)
        return names
    }

    private static func apply(_ damage: Damage, _ directory: String, _ names: [String]) throws {
        let journal = directory + "/store/journal"
        func zero(_ name: String) throws {
            let size = try #require(FileManager.default.contents(atPath: "\(journal)/\(name)")).count
            try Data(count: size).write(to: URL(fileURLWithPath: "\(journal)/\(name)"))
        }
        let (first, last) = (try #require(names.first), try #require(names.last))
        switch damage {
        case .everything: for name in names { try FileManager.default.removeItem(atPath: "\(journal)/\(name)") }
        case .directory: try FileManager.default.removeItem(atPath: journal)
        case .zeros: for name in names { try zero(name) }
        case .oldest: try FileManager.default.removeItem(atPath: "\(journal)/\(first)")
        case .newest: try FileManager.default.removeItem(atPath: "\(journal)/\(last)")
        case .newestZeros: try zero(last)
        }
    }

    @Test("It is said and refused, and what is left is served once the loss is accepted", arguments: Damage.allCases)
    func lost(damage: Damage) async throws {
        try await withTemporaryDirectory { directory in
            let names = try await Self.crashed(directory)
            try Self.apply(damage, directory, names)
            // However often: nothing is forgotten by trying.
            for _ in 0..<2 {
                #expect { _ = try Self.open(directory) } throws: { error in
                    guard case .io(let text)? = error as? ObjectStoreError else { return false }
                    return text.contains("was durable once") && text.contains("--accept-loss")
                }
            }
            let store = try Self.open(directory, acceptsLoss: true)
            #expect(try await store.get(ObjectKey("first")).bytes == [1] || damage != .newest)
            try await store.put(ObjectKey("later"), [2], if: .absent)
            try await store.sync()
            await store.abandonAndWait()
            // What was lost is not asked for again.
            let reopened = try Self.open(directory)
            #expect(try await reopened.get(ObjectKey("later")).bytes == [2])
            try await reopened.close()
        }
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
            let names = try await Self.crashed(directory)
            // What it applied it dropped, and it named itself alone.
            try Self.apply(.everything, directory, names)
            try Data("process 12, since 2026-11-30T10:00:00Z\n".utf8)
                .write(to: URL(fileURLWithPath: directory + "/store/lock"))
            try await Self.open(directory).close()
            try await Self.open(directory).close()
        }
    }

    @Test("Bounds that were cut off while they were written ask for nothing")
    func torn() async throws {
        try await withTemporaryDirectory { directory in
            let names = try await Self.crashed(directory)
            try Data(repeating: 1, count: 100).write(to: URL(fileURLWithPath: directory + "/store/bounds"))
            try Self.apply(.everything, directory, names)
            try await Self.open(directory).close()
        }
    }
}
