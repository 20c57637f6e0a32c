import Dispatch
import Synchronization
import Testing

@testable import ObjectStore

/// How many flushes requests wait for.
@Suite("Group commit")
struct GroupCommitTests {
    private static func open(_ files: SimulatedFileSystem) async throws -> FilesystemObjectStore {
        var options = FilesystemObjectStore.Options.small
        options.flushDelay = .seconds(60)
        let store = try FilesystemObjectStore(files: files, options: options, logger: .quiet)
        // The first segment's making is not what is counted.
        try await store.put(ObjectKey("first"), [1], if: .always)
        try await store.sync()
        return store
    }

    /// Counts flushes of the journal and of streams.
    private final class Counter: Sendable {
        let journal = Atomic<Int>(0)
        let streams = Atomic<Int>(0)

        func fault(_ call: SimulatedFileSystem.Call, _ path: String) -> Int32? {
            guard call == .sync else { return nil }
            if path.hasPrefix("tmp") { streams.wrappingAdd(1, ordering: .relaxed) }
            if path.hasPrefix("journal") { journal.wrappingAdd(1, ordering: .relaxed) }
            return nil
        }
    }

    @Test("However many small objects a request writes, it waits for one flush")
    func small() async throws {
        let files = SimulatedFileSystem()
        let store = try await Self.open(files)
        let counter = Counter()
        files.setFault(counter.fault)
        for number in 0..<200 { try await store.put(ObjectKey("f/\(number)"), [1], if: .always) }
        #expect(counter.journal.load(ordering: .relaxed) == 0)
        try await store.sync()
        #expect(counter.journal.load(ordering: .relaxed) == 1)
        try await store.sync()
        #expect(counter.journal.load(ordering: .relaxed) == 1)
        try await store.close()
    }

    @Test("Streams that finish while a flush is under way share the next one")
    func streams() async throws {
        let files = SimulatedFileSystem()
        let store = try await Self.open(files)
        let counter = Counter()
        let gate = Gate()
        files.setFault { (call, path) in
            if call == .sync, path.hasPrefix("journal") { gate.pass() }
            return counter.fault(call, path)
        }
        try await store.put(ObjectKey("a"), [1], if: .always)
        async let first: Void = store.sync()
        await gate.reached()
        // The flusher is in its first flush; ten streams finish and ten requests sync.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<10 {
                group.addTask {
                    let writer = try await store.writer(for: ObjectKey("s/\(number)"))
                    try await writer.write([1])
                    _ = try await writer.finish()
                }
                group.addTask {
                    try await store.put(ObjectKey("p/\(number)"), [1], if: .always)
                    try await store.sync()
                }
            }
            while store.waitingForFlush < 21 { await Task.yield() }
            gate.open()
            try await group.waitForAll()
        }
        try await first
        #expect(counter.journal.load(ordering: .relaxed) == 2)
        #expect(counter.streams.load(ordering: .relaxed) == 10)
        try await store.close()
    }

    @Test("A streamed object is seen only once it is durable, and its key is taken before")
    func hidden() async throws {
        let files = SimulatedFileSystem()
        let store = try await Self.open(files)
        let gate = Gate()
        let key = try ObjectKey("data/1")
        let writer = try await store.writer(for: key)
        try await writer.write([1])
        files.setFault { (call, path) in
            if call == .sync, path.hasPrefix("journal") { gate.pass() }
            return nil
        }
        async let finished = writer.finish()
        await gate.reached()
        await #expect(throws: ObjectStoreError.missing(key)) { try await store.get(key) }
        await #expect(throws: ObjectStoreError.missing(key)) { try await store.head(key) }
        await #expect(throws: ObjectStoreError.missing(key)) { try await store.open(key) }
        #expect(try await store.list(prefix: "data/", startAfter: nil, limit: 10) == [])
        #expect(try await store.listComponents(below: "data/", startAfter: nil, limit: 10) == [])
        await #expect(throws: ObjectStoreError.exists(key)) { try await store.put(key, [2], if: .absent) }
        gate.open()
        let info = try await finished
        #expect(try await store.head(key) == info)
        try await store.close()
    }

    @Test("What nobody waits for is flushed after a while")
    func lazily() async throws {
        let files = SimulatedFileSystem()
        var options = FilesystemObjectStore.Options.small
        options.flushDelay = .zero
        let store = try FilesystemObjectStore(files: files, options: options, logger: .quiet)
        let flushed = Gate()
        files.setFault { (call, path) in
            if call == .syncDirectory, path == "journal" { flushed.arrive() }
            return nil
        }
        try await store.put(ObjectKey("a"), [1], if: .always)
        await flushed.reached()
        try await store.close()
    }
}

/// Holds a thread up until it is opened, and tells when the thread has come.
final class Gate: Sendable {
    private struct State {
        var hasArrived = false
        var waiters: [CheckedContinuation<Void, Never>] = []
        var isOpen = false
    }
    private let state = Mutex(State())
    private let opened = DispatchSemaphore(value: 0)

    func arrive() {
        let waiters = state.withLock { state in
            state.hasArrived = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// For the thread.
    func pass() {
        arrive()
        if state.withLock({ $0.isOpen }) { return }
        opened.wait()
    }

    func reached() async {
        await withCheckedContinuation { continuation in
            let hasArrived = state.withLock { state in
                if !state.hasArrived { state.waiters.append(continuation) }
                return state.hasArrived
            }
            if hasArrived { continuation.resume() }
        }
    }

    func open() {
        state.withLock { $0.isOpen = true }
        opened.signal()
    }
}
