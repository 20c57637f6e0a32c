import Foundation
import Glibc
import Testing

@testable import ObjectStore

/// What an operator sees of a store's directory, and what the contract does not ask of every driver.
@Suite("The store's directory")
struct FilesystemTests {
    private static func open(
        _ directory: String, _ change: (inout FilesystemObjectStore.Options) -> Void = { _ in }
    ) throws -> FilesystemObjectStore {
        var options = FilesystemObjectStore.Options()
        options.reserveBytes = 1 << 20
        change(&options)
        return try FilesystemObjectStore(root: directory + "/store", options: options, logger: .quiet)
    }

    private static func key(_ text: String) throws -> ObjectKey { try ObjectKey(text) }

    @Test("An object's file holds its bytes and nothing else")
    func plain() async throws {
        try await withTemporaryDirectory { directory in
            let store = try Self.open(directory)
            try await store.put(Self.key("repositories/app/_tags/v1"), Array("a tag".utf8), if: .always)
            let writer = try await store.writer(for: Self.key("data/1"))
            try await writer.write(Array("streamed".utf8))
            _ = try await writer.finish()
            try await store.sync()
            await store.applied()
            let root = directory + "/store/objects/"
            #expect(try String(contentsOfFile: root + "repositories/app/_tags/v1", encoding: .utf8) == "a tag")
            #expect(try String(contentsOfFile: root + "data/1", encoding: .utf8) == "streamed")
            try await store.delete(Self.key("data/1"), ifVersion: nil)
            try await store.sync()
            await store.applied()
            #expect(!FileManager.default.fileExists(atPath: root + "data"))
            try await store.close()
        }
    }

    @Test("A second owner is refused and told who has the store")
    func owned() async throws {
        try await withTemporaryDirectory { directory in
            let store = try Self.open(directory)
            #expect { _ = try Self.open(directory) } throws: { error in
                guard case .owned(let owner)? = error as? ObjectStoreError else { return false }
                return owner.hasPrefix("process \(getpid()), since 20")
            }
            try await store.put(Self.key("a"), [1], if: .always)
            try await store.close()
            let next = try Self.open(directory)
            #expect(try await next.get(Self.key("a")).bytes == [1])
            try await next.close()
        }
    }

    @Test("A second owner is refused though the lock's file was removed, and a first one of an earlier version is seen")
    func lockRemoved() async throws {
        try await withTemporaryDirectory { directory in
            let store = try Self.open(directory)
            try FileManager.default.removeItem(atPath: directory + "/store/lock")
            for _ in 0..<2 {
                #expect { _ = try Self.open(directory) } throws: { error in
                    if case .owned? = error as? ObjectStoreError { true } else { false }
                }
            }
            try await store.close()
            // Earlier versions lock the file alone.
            let file = Glibc.open(directory + "/store/lock", O_RDWR | O_CLOEXEC)
            try #require(file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0)
            #expect(throws: ObjectStoreError.self) { try Self.open(directory) }
            close(file)
            try await Self.open(directory).close()
        }
    }

    @Test("What is known of objects survives a restart and a replay of the journal", arguments: [false, true])
    func restart(isClosed: Bool) async throws {
        try await withTemporaryDirectory { directory in
            var store: FilesystemObjectStore? = try Self.open(directory)
            var infos: [ObjectInfo] = []
            for number in 0..<5 {
                let writer = try await #require(store).writer(for: Self.key("streamed/\(number)"))
                try await writer.write([UInt8](repeating: 1, count: 100_000))
                infos.append(try await writer.finish())
            }
            for number in 0..<20 { try await store?.put(Self.key("put/\(number)"), [1, 2, 3], if: .always) }
            try await store?.sync()
            infos += try await #require(store).list(prefix: "put/", startAfter: nil, limit: 100)
            if isClosed { try await store?.close() }
            if let abandoned = store { await abandoned.abandonAndWait() }
            store = nil
            // A kill leaves the tree as it is; throwing the unapplied objects away makes the journal bring them back.
            if !isClosed { try FileManager.default.removeItem(atPath: directory + "/store/objects/put") }
            let next = try Self.open(directory)
            for _ in 0..<2 {
                #expect(
                    try await next.list(prefix: "", startAfter: nil, limit: 100) == infos.sorted { $0.key < $1.key })
                await next.applied()
            }
            try await next.close()
        }
    }

    @Test("What was left in tmp is removed at the next start")
    func leftovers() async throws {
        try await withTemporaryDirectory { directory in
            try await Self.open(directory).close()
            let left = directory + "/store/tmp/left"
            try Data([1]).write(to: URL(fileURLWithPath: left))
            let store = try Self.open(directory)
            await store.applied()
            #expect(!FileManager.default.fileExists(atPath: left))
            try await store.close()
        }
    }

    @Test("Opening costs the same whatever the store holds")
    func quick() async throws {
        func callsToOpen(_ count: Int) async throws -> Int {
            var random = SeededRandom(seed: 1)
            let files = SimulatedFileSystem()
            let store = try FilesystemObjectStore(files: files, options: .small, logger: .quiet)
            for number in 0..<count { try await store.put(Self.key("f/\(number)/x"), [1], if: .always) }
            try await store.close()
            let again = SimulatedFileSystem(files.diskAfterPowerCut(&random))
            let reopened = try FilesystemObjectStore(files: again, options: .small, logger: .quiet)
            await reopened.applied()
            defer { withExtendedLifetime(reopened) {} }
            return again.calls
        }
        #expect(try await callsToOpen(3) == callsToOpen(700))
    }

    @Test("A large directory is listed in order, page by page")
    func large() async throws {
        let files = SimulatedFileSystem()
        let store = try FilesystemObjectStore(files: files, options: .small, logger: .quiet)
        var names: [String] = []
        for number in 0..<3000 { names.append(number.isMultiple(of: 3) ? "d/\(number)/x" : "d/\(number)") }
        for name in names { try await store.put(Self.key(name), [], if: .absent) }
        try await store.sync()
        await store.applied()
        let sorted = names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        #expect(try await store.list(prefix: "", startAfter: nil, limit: .max).map(\.key.text) == sorted)
        #expect(
            try await store.list(prefix: "d/2", startAfter: nil, limit: 7).map(\.key.text)
                == Array(sorted.filter { $0.hasPrefix("d/2") }.prefix(7)))
        let components = Set(names.map { String($0.split(separator: "/")[1]) }).sorted()
        #expect(try await store.listComponents(below: "d/", startAfter: nil, limit: .max) == components)
        #expect(
            try await store.listComponents(below: "d/", startAfter: "2", limit: 1500)
                == Array(components.filter { $0 > "2" }.prefix(1500)))
        try await store.close()
    }

    @Test("Page by page a large directory is what it is at each page, whatever is put and deleted meanwhile")
    func changing() async throws {
        let files = SimulatedFileSystem()
        let store = try FilesystemObjectStore(files: files, options: .small, logger: .quiet)
        var random = SeededRandom(seed: 11)
        var keys: Set<String> = []
        func name() -> String {
            let ending = ["", "-", "/x", "/y"].randomElement(using: &random) ?? ""
            return "d/\(Int.random(in: 0..<20_000, using: &random))\(ending)"
        }
        func put(_ key: String) async throws {
            let isConflict = keys.contains { $0.hasPrefix(key + "/") || key.hasPrefix($0 + "/") }
            if isConflict { return }
            try await store.put(Self.key(key), [], if: .always)
            keys.insert(key)
        }
        for number in 0..<6000 { try await put("d/\(number)/x") }
        for round in 0..<3 {
            var after: String?
            var afterComponent: String?
            while true {
                let components = Set(keys.map { String($0.split(separator: "/")[1]) }).sorted().filter { name in
                    afterComponent.map { $0 < name } ?? true
                }
                let names = try await store.listComponents(below: "d/", startAfter: afterComponent, limit: 300)
                #expect(names == Array(components.prefix(300)))
                afterComponent = names.last
                let expected = keys.filter { key in after.map { $0.utf8.lexicographicallyPrecedes(key.utf8) } ?? true }
                    .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
                let page = try await store.list(prefix: round == 2 ? "d/1" : "d/", startAfter: after, limit: 400)
                #expect(page.map(\.key.text) == Array(expected.filter { round < 2 || $0.hasPrefix("d/1") }.prefix(400)))
                guard page.count == 400, let last = page.last else { break }
                after = last.key.text
                for _ in 0..<5 { try await put(name()) }
                for _ in 0..<5 {
                    guard let key = keys.randomElement(using: &random) else { break }
                    try await store.delete(Self.key(key), ifVersion: nil)
                    keys.remove(key)
                }
                if Bool.random(using: &random) {
                    try await store.sync()
                    await store.applied()
                }
            }
        }
        try await store.close()
    }

    @Test("A listing does not read folders that it can skip")
    func skips() async throws {
        let files = SimulatedFileSystem()
        let store = try FilesystemObjectStore(files: files, options: .small, logger: .quiet)
        for folder in 0..<300 {
            for number in 0..<3 { try await store.put(Self.key("f/\(1000 + folder)/\(number)"), [], if: .absent) }
        }
        try await store.sync()
        await store.applied()
        for (prefix, after) in [("", "f/1200/0"), ("f/1299/", nil), ("f/1250/1", nil), ("", nil)] as [(String, String?)]
        {
            let before = files.calls
            let found = try await store.list(prefix: prefix, startAfter: after, limit: 2)
            #expect(!found.isEmpty)
            // The folders on the way, and the objects that are looked at.
            #expect(files.calls - before < 10, "\(prefix) after \(after ?? "")")
        }
        try await store.close()
    }

    @Test("Nothing that a symlink points to is read or written, and strange files are not listed")
    func symlinks() async throws {
        try await withTemporaryDirectory { directory in
            let store = try Self.open(directory)
            let objects = directory + "/store/objects"
            let outside = directory + "/outside"
            try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: false)
            try Data([1]).write(to: URL(fileURLWithPath: outside + "/secret"))
            try FileManager.default.createSymbolicLink(atPath: objects + "/link", withDestinationPath: outside)
            try FileManager.default.createSymbolicLink(
                atPath: objects + "/file", withDestinationPath: outside + "/secret")
            #expect(mkfifo(objects + "/pipe", 0o600) == 0)
            for name in ["link/secret", "file", "pipe", "link/new"] {
                await #expect(throws: ObjectStoreError.self) { try await store.get(Self.key(name)) }
                await #expect(throws: ObjectStoreError.self) { try await store.head(Self.key(name)) }
                await #expect(throws: ObjectStoreError.self) { try await store.open(Self.key(name)) }
                await #expect(throws: ObjectStoreError.self) {
                    try await store.put(Self.key(name), [2], if: .always)
                }
                try? await store.delete(Self.key(name), ifVersion: nil)
            }
            try await store.sync()
            await store.applied()
            #expect(try await store.list(prefix: "", startAfter: nil, limit: 10) == [])
            #expect(try Data(contentsOf: URL(fileURLWithPath: outside + "/secret")) == Data([1]))
            #expect(try FileManager.default.contentsOfDirectory(atPath: outside) == ["secret"])
            try await store.close()
        }
    }

    @Test("Readers and writers that are forgotten give their descriptors back")
    func descriptors() async throws {
        try await withTemporaryDirectory { directory in
            func openFiles() throws -> Int {
                try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count { name in
                    let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + name)
                    return target?.hasPrefix(directory) ?? false
                }
            }
            let store = try Self.open(directory)
            try await store.put(Self.key("a"), [1], if: .always)
            try await store.sync()
            await store.applied()
            let before = try openFiles()
            do {
                var kept: [any Sendable] = []
                for number in 0..<20 {
                    kept.append(try await store.open(Self.key("a")))
                    kept.append(try await store.writer(for: Self.key("s/\(number)")))
                }
                #expect(try openFiles() == before + 40)
                withExtendedLifetime(kept) {}
            }
            // Removed files are closed by and by.
            await store.applied()
            #expect(try openFiles() == before)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/store/tmp") == [])
            try await store.close()
            // The directory itself.
            #expect(try openFiles() == 1)
            withExtendedLifetime(store) {}
        }
    }

    @Test("A reader's descriptor is the object's file from offset 0 on")
    func sendfile() async throws {
        try await withTemporaryDirectory { directory in
            let store = try Self.open(directory)
            let writer = try await store.writer(for: Self.key("s"))
            try await writer.write(Array("some bytes".utf8))
            _ = try await writer.finish()
            let reader = try await store.open(Self.key("s"))
            try await store.delete(Self.key("s"), ifVersion: nil)
            try await store.sync()
            await store.applied()
            let descriptor = try #require((reader as? any FileBackedReader)?.fileDescriptor)
            var buffer = [UInt8](repeating: 0, count: 20)
            #expect(pread(descriptor, &buffer, 20, 0) == 10)
            #expect(buffer.prefix(10).elementsEqual("some bytes".utf8))
            await reader.close()
            try await store.close()
        }
    }

    @Test("The clock may stand still or go back, and versions still differ")
    func clock() async throws {
        try await withTemporaryDirectory { directory in
            let store = try Self.open(directory) { $0.now = { 1_000_000 } }
            var versions: Set<ObjectVersion> = []
            for _ in 0..<5 { versions.insert(try await store.put(Self.key("a"), [1], if: .always)) }
            #expect(versions.count == 5)
            #expect(try await store.head(Self.key("a")).modified == 1_000_004)
            try await store.close()
        }
    }
}
