import Blobs
import Droplets
import ImagesTesting
import Layers
import OCI
import ObjectStore
import Rootfs
import Synchronization
import TestSupport
import Testing

@Suite("An app's droplets")
struct AppDropletsTests {
    /// Counts reads of records, and calls back after a record was written.
    private final class WatchedStore: ForwardingObjectStore {
        let base: any ObjectStore
        private let reads = Mutex<[String]>([])
        private let callback = Mutex<(@Sendable () async throws -> Void)?>(nil)

        init(_ base: any ObjectStore) { self.base = base }

        /// The droplets whose records were read since the last call.
        func takeReads() -> [String] {
            reads.withLock { reads in
                defer { reads = [] }
                return reads
            }
        }

        func afterNextPut(_ body: @escaping @Sendable () async throws -> Void) { callback.withLock { $0 = body } }

        private func note(_ key: ObjectKey) {
            if key.text.hasPrefix("bits/droplets/records/") { reads.withLock { $0.append(key.text) } }
        }

        func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
            note(key)
            return try await base.get(key)
        }

        func get(_ keys: [ObjectKey]) async throws(ObjectStoreError) -> [StoredObject?] {
            keys.forEach(note)
            return try await base.get(keys)
        }

        func put(
            _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
        ) async throws(ObjectStoreError) -> ObjectVersion {
            let version = try await base.put(key, bytes, if: condition)
            guard key.text.hasPrefix("bits/droplets/records/"),
                let body = callback.withLock({ callback in
                    defer { callback = nil }
                    return callback
                })
            else { return version }
            do { try await body() } catch { Issue.record(error) }
            return version
        }
    }

    @Test("An upload reads none of the app's other records, and the newest is the first of them")
    func inPlace() async throws {
        let memory = MemoryObjectStore()
        let store = WatchedStore(memory)
        let time = Mutex<Int64>(1_800_000_000_000_000_000)
        let house = try await TestHouse(
            store: memory, through: store,
            now: {
                time.withLock { time in
                    time += 1_000_000_000
                    return time
                }
            })
        var uploaded: [DropletRecord] = []
        for text in ["one", "two", "three", "four"] {
            _ = store.takeReads()
            uploaded.insert(try await house.upload("app", .droplet(text)), at: 0)
            let hash = uploaded[0].hash
            #expect(store.takeReads().allSatisfy { $0.hasSuffix(hash) } || uploaded.count < 3)
        }
        let guid = uploaded[0].guid
        #expect(try await house.droplets.droplets(of: guid) == uploaded)
        #expect(try await TestHouse(store: memory).droplets.droplets(of: guid) == uploaded)
    }

    @Test("Uploads of one app at the same time are all listed")
    func atOnce() async throws {
        let house = try await TestHouse()
        let uploaded = try await withThrowingTaskGroup(of: DropletRecord.self) { group in
            for number in 0..<20 { group.addTask { try await house.upload("app", .droplet("\(number)")) } }
            return try await group.reduce(into: Set<DropletRecord>()) { $0.insert($1) }
        }
        let guid = try DropletGUID("app")
        #expect(try await Set(house.droplets.droplets(of: guid)) == uploaded)
        #expect(try await Set(TestHouse(store: house.store).droplets.droplets(of: guid)) == uploaded)
    }

    @Test("A droplet that is removed before its upload has come to its end is not listed afterwards")
    func removedMeanwhile() async throws {
        let memory = MemoryObjectStore()
        let store = WatchedStore(memory)
        let house = try await TestHouse(store: memory, through: store)
        let stays = try await house.upload("app", .droplet("stays"))
        let goes = try await house.upload("app", .droplet("goes"))
        let late = TestTar.droplet("late")
        let hash = Digest.of(late.bytes).hex
        let droplets = house.droplets
        store.afterNextPut {
            // The first removal has the app's records read again, so that the second finds the new one.
            try await droplets.remove(goes.guid, .sha256(goes.hash))
            try await droplets.remove(goes.guid, .sha256(hash))
            #expect(try await droplets.droplets(of: goes.guid) == [stays])
        }
        #expect(try await house.upload("app", late).hash == hash)
        #expect(try await house.droplets.droplets(of: goes.guid) == [stays])
    }

    @Test("An upload whose outcome is not known is listed if it came about after all")
    func unknownOutcome() async throws {
        let memory = MemoryObjectStore()
        let isLate = Mutex(false)
        let store = InstrumentedObjectStore(
            memory,
            loss: { operation, key in
                let isRecord = key?.text.hasPrefix("bits/droplets/records/") ?? false
                return operation == .put && isRecord && isLate.withLock { $0 } ? .late : .given
            })
        let house = try await TestHouse(store: memory, through: store)
        let first = try await house.upload("app", .droplet("first"))
        _ = try await house.upload("app", .droplet("second"))
        isLate.withLock { $0 = true }
        await #expect(throws: ImageError.self) { try await house.upload("app", .droplet("third")) }
        await store.arrive()
        #expect(try await house.droplets.droplets(of: first.guid).count == 3)
    }

    @Test("An app has as many droplets as it may; the next is refused, before its bytes come if it names them")
    func limit() async throws {
        let house = try await TestHouse()
        let droplets = DropletCatalog(
            store: house.store, blobs: house.blobs, conversions: 1, maximumPerApp: 2, now: { 1_800_000_000_000_000_000 }
        )
        func upload(_ text: String, _ checksum: Checksum? = nil, breaksAt end: Int? = nil) async throws {
            _ = try await droplets.upload(
                DropletUpload(
                    guid: try DropletGUID("app"), stack: try StackName(TestHouse.stack), architecture: .amd64,
                    checksum: checksum, layout: DropletLayout(), limits: ConversionLimits(), by: "tester"),
                from: Chunks(TestTar.droplet(text).bytes, breaksAt: end), logger: TestHouse.logger)
        }
        func isFull(_ error: any Error) -> Bool {
            if case ImageError.tooManyDroplets(guid: "app", limit: 2) = error { true } else { false }
        }
        for text in ["one", "two", "one"] { try await upload(text) }
        await #expect { try await upload("three") } throws: { isFull($0) }
        let three = Digest.of(TestTar.droplet("three").bytes)
        await #expect { try await upload("three", .digest(three), breaksAt: 0) } throws: { isFull($0) }
        try await upload("two", .digest(Digest.of(TestTar.droplet("two").bytes)))
        let guid = try DropletGUID("app")
        #expect(try await droplets.droplets(of: guid).count == 2)
        try await droplets.remove(guid, .sha256(Digest.of(TestTar.droplet("one").bytes).hex))
        try await upload("three")
    }

    @Test("An app with more records than are read at a time has them all")
    func many() async throws {
        let house = try await TestHouse()
        let record = try await house.upload("app", .droplet("x"))
        let folder = "bits/droplets/records/app/"
        let text = String(decoding: try await house.store.get(ObjectKey(folder + record.hash)).bytes, as: UTF8.self)
        for number in 0..<1100 {
            let hash = Digest.of("\(number)".utf8).hex
            let bytes = Array(text.replacing(record.hash, with: hash).utf8)
            try await house.store.put(ObjectKey(folder + hash), bytes, if: .absent)
        }
        let restarted = try await TestHouse(store: house.store)
        #expect(try await restarted.droplets.droplets(of: record.guid).count == 1101)
    }
}
