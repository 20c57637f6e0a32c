import Foundation
import ObjectStore
import Testing

@Suite("A full disk")
struct FullDiskTests {
    private static func open(_ mount: Mount) throws -> FilesystemObjectStore {
        var options = FilesystemObjectStore.Options()
        options.segmentBytes = 1 << 20
        options.reserveBytes = 4 << 20
        options.pendingBytes = 2 << 20
        // A segment that is sealed for its age frees its space, while a test expects none to be there.
        options.segmentAge = .seconds(3600)
        return try FilesystemObjectStore(root: mount.path + "/store", options: options, logger: .quiet)
    }

    private static func content(_ number: Int) -> [UInt8] { [UInt8](repeating: UInt8(number % 251), count: 100_000) }

    /// Puts objects until there is no room.
    private static func fill(_ store: FilesystemObjectStore, from first: Int = 0) async throws -> Int {
        for number in first..<2000 {
            do throws(ObjectStoreError) {
                try await store.put(ObjectKey("fill/\(number)"), content(number), if: .absent)
            } catch {
                #expect(error == .full)
                return number
            }
        }
        throw CancellationError()
    }

    /// Puts objects until there is no room, and none that journal segments leave either when they are dropped.
    private static func fillWholly(_ store: FilesystemObjectStore) async throws -> Int {
        var count = 0
        while true {
            let more = try await fill(store, from: count)
            if more == count { return count }
            count = more
            try await store.sync()
            await store.applied()
        }
    }

    private static func check(_ store: FilesystemObjectStore, holds numbers: some Sequence<Int>) async throws {
        var expected: Set<String> = []
        for number in numbers {
            expected.insert("fill/\(number)")
            #expect(try await store.get(ObjectKey("fill/\(number)")).bytes == content(number))
        }
        #expect(try await Set(store.list(prefix: "", startAfter: nil, limit: .max).map(\.key.text)) == expected)
    }

    @Test(
        "Puts fail with full, deletes work, and then there is room again, without a restart",
        arguments: Mount.Kind.allCases)
    func puts(kind: Mount.Kind) async throws {
        try await Mount.with(kind, megabytes: 24) { mount in
            let store = try Self.open(mount)
            let count = try await Self.fillWholly(store)
            #expect(count > 50)
            // More than what a file system may yet give back of its own tables.
            let large = [UInt8](repeating: 3, count: 1 << 20)
            await #expect(throws: ObjectStoreError.full) {
                try await store.put(ObjectKey("fill/0"), large, if: .always)
            }
            await #expect(throws: ObjectStoreError.full) {
                // A stream without bytes may begin where an object had no room.
                let writer = try await store.writer(for: ObjectKey("stream"))
                do throws(ObjectStoreError) {
                    try await writer.write(large)
                } catch {
                    await writer.abort()
                    throw error
                }
            }
            try await store.sync()
            try await Self.check(store, holds: 0..<count)
            // Very many deletes: the journal needs room of its own for them.
            for number in 0..<count / 2 {
                try await store.delete(ObjectKey("fill/\(number)"), ifVersion: nil)
                if number.isMultiple(of: 5) { try await store.sync() }
            }
            let more = try await Self.fill(store, from: count)
            #expect(more > count + count / 3)
            try await store.sync()
            try await Self.check(store, holds: count / 2..<more)
            try await store.close()
            let reopened = try Self.open(mount)
            try await Self.check(reopened, holds: count / 2..<more)
            for number in count / 2..<more { try await reopened.delete(ObjectKey("fill/\(number)"), ifVersion: nil) }
            try await reopened.put(ObjectKey("fill/0"), Self.content(0), if: .absent)
            try await reopened.sync()
            try await Self.check(reopened, holds: 0..<1)
            try await reopened.close()
        }
    }

    @Test("A stream fails with full, leaves nothing, and what it took is free again", arguments: Mount.Kind.allCases)
    func streams(kind: Mount.Kind) async throws {
        try await Mount.with(kind, megabytes: 24) { mount in
            let store = try Self.open(mount)
            for _ in 0..<3 {
                let writer = try await store.writer(for: ObjectKey("stream"))
                var written = 0
                await #expect(throws: ObjectStoreError.full) {
                    while written < 100 {
                        try await writer.write([UInt8](repeating: 1, count: 1 << 20))
                        written += 1
                    }
                }
                // All but the reserve and the journal.
                #expect(written >= 12)
                // Deletes and other small things still work.
                try await store.delete(ObjectKey("nothing"), ifVersion: nil)
                await writer.abort()
                try await store.put(ObjectKey("small"), [1], if: .always)
                try await store.sync()
                // Bringing a small object into the tree takes a temporary file too.
                await store.applied()
                #expect(try FileManager.default.contentsOfDirectory(atPath: mount.path + "/store/tmp") == [])
            }
            try await store.close()
        }
    }

    @Test(
        "When somebody else fills the disk what is pending stays, and goes on when there is room",
        arguments: Mount.Kind.allCases)
    func others(kind: Mount.Kind) async throws {
        try await Mount.with(kind, megabytes: 24) { mount in
            let store = try Self.open(mount)
            for number in 0..<20 { try await store.put(ObjectKey("fill/\(number)"), Self.content(number), if: .absent) }
            try await store.sync()
            await store.applied()
            let filler = mount.path + "/filler"
            fillDisk(filler)
            await #expect(throws: ObjectStoreError.full) { try await store.put(ObjectKey("fill/20"), [1], if: .absent) }
            await #expect(throws: ObjectStoreError.full) { _ = try await store.writer(for: ObjectKey("stream")) }
            // What is there can be read, and deleted for good.
            try await Self.check(store, holds: 0..<20)
            try await store.delete(ObjectKey("fill/0"), ifVersion: nil)
            try await store.sync()
            try await Self.check(store, holds: 1..<20)
            fillDisk(filler)
            await #expect(throws: ObjectStoreError.full) { try await store.put(ObjectKey("fill/20"), [1], if: .absent) }
            try FileManager.default.removeItem(atPath: filler)
            try await store.put(ObjectKey("fill/20"), Self.content(20), if: .absent)
            try await store.sync()
            await store.applied()
            let reserve = try FileManager.default.attributesOfItem(atPath: mount.path + "/store/reserve")
            #expect(reserve[.size] as? Int == 4 << 20)
            try await store.close()
            let reopened = try Self.open(mount)
            try await Self.check(reopened, holds: 1..<21)
            try await reopened.close()
        }
    }

    @Test("A disk without inodes is full too")
    func inodes() async throws {
        try await Mount.with(.tmpfs, megabytes: 24, inodes: 40) { mount in
            let store = try Self.open(mount)
            var count = 0
            await #expect(throws: ObjectStoreError.full) {
                while count < 100 {
                    try await store.put(ObjectKey("fill/\(count)"), Self.content(count), if: .absent)
                    try await store.sync()
                    count += 1
                }
            }
            #expect(count > 15)
            for number in 0..<10 { try await store.delete(ObjectKey("fill/\(number)"), ifVersion: nil) }
            try await store.put(ObjectKey("fill/0"), Self.content(0), if: .absent)
            try await store.sync()
            try await Self.check(store, holds: [0] + Array(10..<count))
            try await store.close()
        }
    }

    @Test("A store on a full disk opens, and deletes make room", arguments: Mount.Kind.allCases)
    func opens(kind: Mount.Kind) async throws {
        try await Mount.with(kind, megabytes: 24) { mount in
            let first = try Self.open(mount)
            for number in 0..<20 { try await first.put(ObjectKey("fill/\(number)"), Self.content(number), if: .absent) }
            try await first.close()
            let filler = mount.path + "/filler"
            fillDisk(filler)
            let store = try Self.open(mount)
            try await Self.check(store, holds: 0..<20)
            await #expect(throws: ObjectStoreError.full) { try await store.put(ObjectKey("fill/20"), [1], if: .absent) }
            for number in 0..<20 { try await store.delete(ObjectKey("fill/\(number)"), ifVersion: nil) }
            try await store.sync()
            try await Self.check(store, holds: [])
            try FileManager.default.removeItem(atPath: filler)
            try await store.put(ObjectKey("fill/1"), Self.content(1), if: .absent)
            try await store.close()
        }
    }

    @Test("A read-only disk can't be owned, and says so", arguments: Mount.Kind.allCases)
    func readOnly(kind: Mount.Kind) async throws {
        try await Mount.with(kind, megabytes: 24) { mount in
            let store = try Self.open(mount)
            try await store.put(ObjectKey("fill/0"), Self.content(0), if: .absent)
            try await store.close()
            try mount.remount("ro")
            do {
                _ = try Self.open(mount)
                Issue.record("a store was opened on a read-only disk")
            } catch let error as ObjectStoreError {
                guard case .permission(let reason) = error else { throw error }
                #expect(reason.contains("Read-only file system"))
            }
            try mount.remount("rw")
            let again = try Self.open(mount)
            try await Self.check(again, holds: 0..<1)
            try await again.close()
        }
    }
}

/// Writes a file until the disk takes no more.
private func fillDisk(_ path: String) {
    let file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    defer { close(file) }
    for size in [1 << 16, 1 << 12, 1] {
        let bytes = [UInt8](repeating: 0, count: size)
        while write(file, bytes, size) > 0 {}
    }
}
