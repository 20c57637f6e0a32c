import ObjectStore
import ObjectStoreTesting
import Testing

@Suite("The instrumented wrapper")
struct InstrumentedTests {
    @Test("It keeps the contract of the store inside", arguments: ContractCheck.all)
    func contract(_ check: ContractCheck) async throws {
        try await check.verify(on: InstrumentedObjectStore(MemoryObjectStore()))
    }

    @Test("It counts calls, failed ones and their time")
    func counts() async throws {
        let store = InstrumentedObjectStore(MemoryObjectStore())
        let key = try ObjectKey("a")
        try await store.put(key, [1], if: .always)
        try await store.put(key, [2], if: .always)
        await #expect(throws: ObjectStoreError.exists(key)) { try await store.put(key, [3], if: .absent) }
        let reader = try await store.open(key)
        _ = try await reader.read(at: 0, maximum: 1)
        let writer = try await store.writer(for: ObjectKey("s"))
        try await writer.write([1])
        _ = try await writer.finish()
        #expect(store.statistics[.put]?.count == 3)
        #expect(store.statistics[.put]?.failures == 1)
        #expect(store.statistics[.get] == nil)
        for operation in [ObjectOperation.open, .read, .writer, .write, .finish] {
            #expect(store.statistics[operation]?.count == 1, "\(operation)")
        }
        let puts = try #require(store.statistics[.put])
        #expect(puts.longest > .zero && puts.longest <= puts.total)
    }

    @Test("It can make calls fail before they are made")
    func faults() async throws {
        let inside = MemoryObjectStore()
        let store = InstrumentedObjectStore(inside) { (operation, key) throws(ObjectStoreError) in
            if operation == .put, key?.text == "bad" { throw .full }
            if operation == .sync { throw .io("no") }
        }
        await #expect(throws: ObjectStoreError.full) { try await store.put(ObjectKey("bad"), [1], if: .always) }
        await #expect(throws: ObjectStoreError.io("no")) { try await store.sync() }
        try await store.put(ObjectKey("good"), [1], if: .always)
        #expect(try await inside.list(prefix: "", startAfter: nil, limit: 10).map(\.key.text) == ["good"])
    }

    @Test("It can lose the answer to a call that was made, and can make a call after it has failed")
    func losses() async throws {
        let inside = MemoryObjectStore()
        let store = InstrumentedObjectStore(
            inside,
            loss: { operation, key in
                guard operation == .put else { return .given }
                return key?.text == "lost" ? .lost : .late
            })
        let (lost, late) = (try ObjectKey("lost"), try ObjectKey("late"))
        for key in [lost, late] {
            await #expect { try await store.put(key, [1], if: .absent) } throws: {
                ($0 as? ObjectStoreError)?.isOutcomeUnknown == true
            }
        }
        #expect(try await inside.get(lost).bytes == [1])
        await #expect(throws: ObjectStoreError.missing(late)) { try await inside.get(late) }
        await store.arrive()
        #expect(try await inside.get(late).bytes == [1])
        #expect(store.statistics[.put]?.failures == 2)
    }
}
