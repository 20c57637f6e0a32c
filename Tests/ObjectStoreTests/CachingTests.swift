import ObjectStore
import ObjectStoreTesting
import Testing

@Suite("A store that remembers what was read")
struct WriteThroughTests {
    @Test("It keeps the contract of the store inside", arguments: ContractCheck.all)
    func contract(_ check: ContractCheck) async throws {
        try await check.verify(on: CachingObjectStore(MemoryObjectStore()))
    }

    @Test("What was read once is not read from the store inside again, until it changes")
    func remembers() async throws {
        let inside = InstrumentedObjectStore(MemoryObjectStore())
        let store = CachingObjectStore(inside)
        let key = try ObjectKey("a/b")
        func reads() -> Int { inside.statistics[.get]?.count ?? 0 }
        try await store.put(key, [1], if: .always)
        for _ in 0..<3 { #expect(try await store.get(key).bytes == [1]) }
        #expect(reads() == 1)
        let version = try await store.get(key).info.version
        try await store.put(key, [2], if: .version(version))
        #expect(try await store.get(key).bytes == [2])
        await #expect(throws: ObjectStoreError.self) { try await store.put(key, [3], if: .version(version)) }
        #expect(try await store.get(key).bytes == [2])
        try await store.delete(key, ifVersion: nil)
        await #expect(throws: ObjectStoreError.missing(key)) { try await store.get(key) }
    }

    @Test("Readers and writers at once never see an old value after a newer one", arguments: 0..<20)
    func races(round: Int) async throws {
        let store = CachingObjectStore(MemoryObjectStore())
        let key = try ObjectKey("counter")
        try await store.put(key, [0], if: .always)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for value in 1...200 as ClosedRange<UInt8> {
                    try await store.put(key, [value], if: .always)
                    // What was written is seen from now on.
                    #expect(try await store.get(key).bytes == [value])
                }
            }
            for _ in 0..<3 {
                group.addTask {
                    var last: UInt8 = 0
                    while last < 200 {
                        let value = try await store.get(key).bytes[0]
                        try #require(value >= last)
                        last = value
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
