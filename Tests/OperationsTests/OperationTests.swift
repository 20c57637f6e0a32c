import JSON
import Logging
import MetricsTestKit
import ObjectStore
import Synchronization
import TestSupport
import Testing

@testable import Operations

@Suite("Operations", .timeLimit(.minutes(2)))
struct OperationTests {
    private struct Broken: Error {}

    private final class Clock: Sendable {
        private let nanoseconds = Mutex<Int64>(1_000_000_000)
        var time: Int64 { nanoseconds.withLock { $0 } }
        func advance(by seconds: Int64) { nanoseconds.withLock { $0 += seconds * 1_000_000_000 } }
    }

    private let store = MemoryObjectStore()
    private let clock = Clock()
    /// Each element lets one pause end.
    private let ticks = AsyncStream.makeStream(of: Void.self)

    private func runner(isExclusive: Bool = true) -> OperationRunner {
        let (clock, ticks) = (clock, ticks.stream)
        return OperationRunner(
            store: store, isExclusive: isExclusive, describe: { _ in .init(code: "broken", message: "it broke") },
            now: { clock.time },
            pause: {
                for await _ in ticks { return }
                throw CancellationError()
            }, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Runs a body beside a runner at work, which is stopped then and has written everything down when this returns.
    private func with(_ runner: OperationRunner, _ body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await runner.run() }
            defer { runner.stop() }
            try await body()
            runner.stop()
            try await group.waitForAll()
        }
    }

    /// Work that goes on until it is cancelled.
    private static let endless: OperationRunner.Work = { _ in
        for await _ in AsyncStream<Void>.makeStream().stream {}
        throw CancellationError()
    }

    private func ended(_ id: String, _ runner: OperationRunner) async throws -> OperationRecord {
        try await waitFor("the end of \(id)") {
            let record = try await runner.find(id)
            return record.state == .running ? nil : record
        }
    }

    private static func request(_ kind: String = "gc", alone: Bool = true) -> OperationRequest {
        OperationRequest(kind: kind, by: "ann", parameters: ["stack": "s"], isAlone: alone)
    }

    @Test("is written down before anybody is told of it, and its end before the runner returns")
    func life() async throws {
        let runner = runner()
        var id = ""
        try await with(runner) {
            let (gate, opener) = AsyncStream.makeStream(of: Void.self)
            let begun = try await runner.begin(Self.request()) { operation in
                operation.advance(to: .init(done: 2, total: 5, unit: "blobs"), ["blobs": 2])
                operation.advance(by: 1)
                for await _ in gate {}
                return ["blobs": 5]
            }
            id = begun.id
            #expect(try await self.runner(isExclusive: false).find(id) == begun, "another process sees it")
            try await waitUntil("its progress") { try await runner.find(id).progress?.done == 3 }
            let running = try await runner.find(id)
            #expect(running.state == .running && running.report == ["blobs": 2] && running.ended == nil)
            clock.advance(by: 7)
            opener.finish()
            let ended = try await ended(id, runner)
            #expect(ended.state == .done && ended.report == ["blobs": 5] && ended.ended == clock.time)
        }
        let kept = try await self.runner().find(id)
        #expect(
            kept.state == .done && kept.report == ["blobs": 5] && kept.by == "ann" && kept.parameters == ["stack": "s"])
        #expect(kept.progress == .init(done: 3, total: 5, unit: "blobs"))
    }

    @Test("is counted by kind and outcome when it ends, and its time taken")
    func metrics() async throws {
        let metrics = TestMetrics()
        let runner = OperationRunner(
            store: store, isExclusive: true, describe: { _ in .init(code: "", message: "") }, now: { clock.time },
            pause: { throw CancellationError() }, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            metrics: metrics)
        try await with(runner) {
            for _ in 0..<2 {
                let id = try await runner.begin(Self.request(alone: false)) { _ in
                    clock.advance(by: 7)
                    return 1
                }.id
                _ = try await ended(id, runner)
            }
            let failed = try await runner.begin(Self.request("verify")) { _ in throw Broken() }.id
            _ = try await ended(failed, runner)
        }
        let expected = [("gc", "done", 2), ("gc", "failed", 0), ("verify", "failed", 1), ("verify", "done", 0)]
        for (kind, outcome, count) in expected {
            let counter = try metrics.expectCounter("operations", [("kind", kind), ("outcome", outcome)])
            #expect(counter.totalValue == count)
        }
        #expect(
            try metrics.expectTimer("operation_duration", [("kind", "gc")]).values == [7_000_000_000, 7_000_000_000])
    }

    @Test("of its kind there is one at a time, where that is wanted, and a refusal names it")
    func alone() async throws {
        let runner = runner()
        try await with(runner) {
            let first = try await runner.begin(Self.request(), Self.endless)
            await #expect(throws: OperationError.running(kind: "gc", id: first.id)) {
                try await runner.begin(Self.request(), Self.endless)
            }
            try await runner.begin(Self.request("verify"), Self.endless)
            try await runner.begin(Self.request("delta", alone: false), Self.endless)
            try await runner.begin(Self.request("delta", alone: false), Self.endless)
            _ = try await runner.cancel(first.id, by: "bob")
            _ = try await ended(first.id, runner)
            try await runner.begin(Self.request(), Self.endless)
        }
    }

    @Test("of another process, too, there is one at a time, for as long as that is there")
    func aloneAmongSeveral() async throws {
        let (one, other) = (runner(isExclusive: false), runner(isExclusive: false))
        let first = try await one.begin(Self.request(), Self.endless)
        await #expect(throws: OperationError.running(kind: "gc", id: first.id)) {
            try await other.begin(Self.request(), Self.endless)
        }
        clock.advance(by: 3600)
        try await other.begin(Self.request(), Self.endless)
    }

    @Test("that is cancelled ends, and says by whom")
    func cancelled() async throws {
        let runner = runner()
        try await with(runner) {
            let id = try await runner.begin(Self.request(), Self.endless).id
            #expect(try await runner.cancel(id, by: "bob").cancelledBy == "bob")
            let ended = try await ended(id, runner)
            #expect(ended.state == .cancelled && ended.cancelledBy == "bob" && ended.failure == nil)
            await #expect(throws: OperationError.ended(id: id)) { try await runner.cancel(id, by: "bob") }
            for unknown in ["x", "", "../x", "a/b", id + "x"] {
                await #expect(throws: OperationError.unknown(id: unknown)) {
                    try await runner.cancel(unknown, by: "bob")
                }
            }
        }
    }

    @Test("of another process is cancelled when that writes down what it does the next time")
    func cancelledElsewhere() async throws {
        let (owner, other) = (runner(isExclusive: false), runner(isExclusive: false))
        try await with(owner) {
            let id = try await owner.begin(Self.request(), Self.endless).id
            #expect(try await other.cancel(id, by: "bob").state == .running)
            #expect(try await owner.find(id).cancelledBy == nil)
            ticks.continuation.yield()
            let ended = try await ended(id, owner)
            #expect(ended.state == .cancelled && ended.cancelledBy == "bob")
        }
    }

    @Test("that fails says why")
    func failed() async throws {
        let runner = runner()
        try await with(runner) {
            let id = try await runner.begin(Self.request()) { _ in throw Broken() }.id
            let ended = try await ended(id, runner)
            #expect(ended.state == .failed && ended.failure == .init(code: "broken", message: "it broke"))
        }
    }

    @Test("is interrupted by the end of its process, which takes none any more")
    func stopped() async throws {
        let runner = runner()
        var id = ""
        try await with(runner) { id = try await runner.begin(Self.request(), Self.endless).id }
        let next = self.runner()
        #expect(try await next.find(id).state == .interrupted)
        await #expect(throws: OperationError.stopping) { try await runner.begin(Self.request(), Self.endless) }
    }

    @Test("of a process that is gone is interrupted by the next one, at once or when its lease is over")
    func lost() async throws {
        let id = try await runner().begin(Self.request(), Self.endless).id
        let beside = runner(isExclusive: false)
        try await beside.interruptLost()
        #expect(try await beside.find(id).state == .running, "it may be at work")
        clock.advance(by: 3600)
        try await beside.interruptLost()
        #expect(try await beside.find(id).state == .interrupted)

        let other = try await runner().begin(Self.request("verify"), Self.endless).id
        let next = runner()
        try await next.interruptLost()
        let record = try await next.find(other)
        #expect(record.state == .interrupted && record.failure?.code == "interrupted" && record.ended == clock.time)
    }

    @Test("keeps its lease while it runs")
    func renewed() async throws {
        let (owner, other) = (runner(isExclusive: false), runner(isExclusive: false))
        try await with(owner) {
            let first = try await owner.begin(Self.request(), Self.endless)
            clock.advance(by: 3600)
            ticks.continuation.yield()
            try await waitUntil("a new lease") { try await other.find(first.id).lease > first.lease }
            try await other.interruptLost()
            #expect(try await other.find(first.id).state == .running)
        }
    }

    @Test("is forgotten when many of its kind have ended since, and no other is")
    func forgotten() async throws {
        let runner = runner()
        var ids: [String] = []
        var other = ""
        try await with(runner) {
            other = try await runner.begin(Self.request("verify")) { _ in 1 }.id
            for _ in 0..<OperationRunner.maximumEnded + 5 {
                clock.advance(by: 1)
                let id = try await runner.begin(Self.request()) { _ in 1 }.id
                _ = try await ended(id, runner)
                ids.append(id)
            }
        }
        let kept = try await self.runner().list().map(\.id)
        #expect(kept == ids.suffix(OperationRunner.maximumEnded).reversed() + [other], "the newest first")
    }

    @Test("does not run without bound")
    func tooMany() async throws {
        let runner = runner()
        for _ in 0..<OperationRunner.maximumRunning {
            try await runner.begin(Self.request("delta", alone: false), Self.endless)
        }
        await #expect(throws: OperationError.tooMany) {
            try await runner.begin(Self.request("delta", alone: false), Self.endless)
        }
    }

    @Test("can be fed by its caller, and go on after that")
    func attended() async throws {
        let runner = runner()
        try await with(runner) {
            let alone = try await runner.attend(Self.request()) { _ in
                3
            } report: {
                .integer($0)
            } then: { _ in
                nil
            }
            #expect(alone.value == 3 && alone.record.state == .done && alone.record.report == 3)

            let (gate, opener) = AsyncStream.makeStream(of: Void.self)
            let first = try await runner.attend(Self.request()) { _ in
                3
            } report: {
                .integer($0)
            } then: { value in
                { _ in
                    for await _ in gate {}
                    try Task.checkCancellation()
                    return .integer(value + 1)
                }
            }
            #expect(first.record.state == .running && first.record.report == 3)
            opener.finish()
            let ended = try await ended(first.record.id, runner)
            #expect(ended.state == .done && ended.report == 4)

            await #expect(throws: Broken.self) {
                try await runner.attend(Self.request()) { _ -> Int in
                    throw Broken()
                } report: {
                    .integer($0)
                } then: { _ in
                    nil
                }
            }
            #expect(
                try await runner.list().map(\.state).sorted { $0.rawValue < $1.rawValue } == [.done, .done, .failed])
        }
    }

    @Test("that its caller feeds ends with the caller, or when somebody cancels it")
    func letGo() async throws {
        let runner = runner()
        try await with(runner) {
            for isCancelled in [false, true] {
                clock.advance(by: 1)
                let caller = Task {
                    try await runner.attend(Self.request()) { operation in
                        try await Self.endless(operation)
                    } report: {
                        $0
                    } then: { _ in
                        nil
                    }
                }
                try await waitUntil("it to run") { try await runner.list().first?.state == .running }
                let id = try #require(try await runner.list().first?.id)
                if isCancelled { _ = try await runner.cancel(id, by: "bob") } else { caller.cancel() }
                let result = await caller.result
                let expected: any Error = isCancelled ? OperationError.cancelled(by: "bob") : CancellationError()
                guard case .failure(let error) = result else { throw Broken() }
                #expect("\(error)" == "\(expected)")
                #expect(try await runner.find(id).state == (isCancelled ? .cancelled : .interrupted))
            }
        }
    }

    @Test("that can't be read hides no other")
    func unreadable() async throws {
        let runner = runner()
        let id = try await runner.begin(Self.request(), Self.endless).id
        for (name, text) in [("a", "x"), ("z", #"{"format":9}"#), ("y", "{}")] {
            try await store.put(ObjectKey("operations/" + name), Array(text.utf8), if: .always)
        }
        let next = self.runner()
        try await next.interruptLost()
        #expect(try await next.list().map(\.id) == [id])
        #expect(try await next.find(id).state == .interrupted)
    }

    @Test("goes on where the store is full: garbage has to be collected then")
    func full() async throws {
        let full = FullStore(store)
        let clock = clock
        let runner = OperationRunner(
            store: full, isExclusive: true, describe: { _ in .init(code: "", message: "") }, now: { clock.time },
            pause: { throw CancellationError() }, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await with(runner) {
            let id = try await runner.begin(Self.request()) { _ in 1 }.id
            #expect(try await ended(id, runner).state == .done)
        }
    }
}

private struct FullStore: ForwardingObjectStore {
    let base: any ObjectStore
    init(_ base: any ObjectStore) { self.base = base }

    func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion { throw .full }
}
