import ObjectStore
import ObjectStoreTesting
import Synchronization
import Testing

@Suite("A store that remembers what was read")
struct WriteThroughTests {
    @Test("It keeps the contract of the store inside", arguments: ContractCheck.all, [true, false])
    func contract(_ check: ContractCheck, isExclusive: Bool) async throws {
        try await check.verify(on: CachingObjectStore(MemoryObjectStore(exclusive: isExclusive)))
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

@Suite("Two processes that remember what they read of one store")
struct SharedCacheTests {
    private final class Clock: Sendable {
        private let time = Mutex<Int64>(0)
        var now: Int64 { time.withLock { $0 } }
        func advance(_ nanoseconds: Int64) { time.withLock { $0 += nanoseconds } }
    }

    private static let age: Int64 = 1000

    private let clock = Clock()
    private let inside = InstrumentedObjectStore(MemoryObjectStore(exclusive: false))
    private let here: CachingObjectStore
    private let there: CachingObjectStore
    private let key: ObjectKey

    init() throws {
        let clock = clock
        here = CachingObjectStore(inside, maximumAge: Self.age, now: { clock.now })
        there = CachingObjectStore(inside, maximumAge: Self.age, now: { clock.now })
        key = try ObjectKey("a/b")
    }

    private var reads: Int { inside.statistics[.get]?.count ?? 0 }

    @Test("What was read is believed up to the age and no longer, used or not")
    func age() async throws {
        try await here.put(key, [1], if: .absent)
        for _ in 0..<3 { #expect(try await here.get(key).bytes == [1]) }
        #expect(reads == 1)
        try await there.put(key, [2], if: .always)
        #expect(try await there.get(key).bytes == [2], "its own writes are seen at once")
        for _ in 0..<4 {
            clock.advance(Self.age / 4 - 1)
            _ = try await here.get(key)
        }
        clock.advance(4)
        #expect(try await here.get(key).bytes == [2])
    }

    @Test("What is missing is asked for each time, and what another deleted is gone when the age is over")
    func misses() async throws {
        await #expect(throws: ObjectStoreError.missing(key)) { try await here.get(key) }
        try await there.put(key, [1], if: .absent)
        #expect(try await here.get(key).bytes == [1], "what another created is seen at once")
        try await there.delete(key, ifVersion: nil)
        await #expect(throws: ObjectStoreError.missing(key)) { try await there.get(key) }
        clock.advance(Self.age)
        await #expect(throws: ObjectStoreError.missing(key)) { try await here.get(key) }
    }

    @Test("Who decides by it reads past what is remembered, and so does everybody after that")
    func now() async throws {
        try await here.put(key, [1], if: .absent)
        let old = try await here.get(key)
        let version = try await there.put(key, [2], if: .version(old.info.version))
        #expect(try await here.get(key).bytes == [1], "nothing tells it")
        #expect(try await here.getNow(key).info.version == version)
        #expect(try await here.get(key).bytes == [2])
        try await there.delete(key, ifVersion: nil)
        await #expect(throws: ObjectStoreError.missing(key)) { try await here.getNow(key) }
        await #expect(throws: ObjectStoreError.missing(key)) { try await here.get(key) }
    }

    @Test("A change with a version that is old fails, and what was remembered is forgotten by that")
    func conditions() async throws {
        try await here.put(key, [1], if: .absent)
        let old = try await here.get(key).info.version
        try await there.put(key, [2], if: .always)
        await #expect(throws: ObjectStoreError.changed(key)) { try await here.put(key, [3], if: .version(old)) }
        let now = try await here.get(key)
        #expect(now.bytes == [2])
        try await here.put(key, [3], if: .version(now.info.version))
        #expect(try await here.get(key).bytes == [3])
    }

    @Test("A read that began before another's write counts as old as its beginning")
    func beginning() async throws {
        let slow = SlowStore(inside)
        let clock = clock
        let store = CachingObjectStore(slow, maximumAge: Self.age, now: { clock.now })
        try await there.put(key, [1], if: .absent)
        slow.afterRead { clock.advance(Self.age) }
        #expect(try await store.get(key).bytes == [1])
        try await there.put(key, [2], if: .always)
        #expect(try await store.get(key).bytes == [2])
    }

    /// Does something between having read and giving it.
    private final class SlowStore: ForwardingObjectStore {
        let base: any ObjectStore
        private let action = Mutex<(@Sendable () -> Void)?>(nil)

        init(_ base: any ObjectStore) { self.base = base }

        func afterRead(_ action: @escaping @Sendable () -> Void) { self.action.withLock { $0 = action } }

        func get(_ key: ObjectKey) async throws(ObjectStoreError) -> StoredObject {
            let object = try await base.get(key)
            let action = action.withLock { action in
                defer { action = nil }
                return action
            }
            action?()
            return object
        }
    }
}
