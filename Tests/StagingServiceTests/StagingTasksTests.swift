import Foundation
import JSON
import Logging
import OCI
import ObjectStore
import Synchronization
import TestSupport
import Testing
import Transfer

@testable import StagingService

@Suite("The queue of staging tasks")
struct StagingQueueTests {
    @Test("gives spaces turns, and takes what comes first within one")
    func turns() {
        var queue = StagingQueue()
        for number in 1...5 { queue.add("big-\(number)", space: "big") }
        queue.add("small-1", space: "small")
        queue.add("other-1", space: "other")
        var order: [String] = []
        var running: [String] = []
        while let (guid, space) = queue.next() {
            order.append(guid)
            running.append(space)
            // Two run at a time.
            if running.count == 2 { queue.end(space: running.removeFirst()) }
        }
        #expect(order == ["big-1", "other-1", "small-1", "big-2", "big-3", "big-4", "big-5"])
        #expect(queue.count == 0)
    }

    @Test("forgets a task that is taken out")
    func removal() {
        var queue = StagingQueue()
        queue.add("a", space: "s")
        queue.add("b", space: "s")
        #expect(queue.remove("a", space: "s") && !queue.remove("a", space: "s") && !queue.remove("x", space: "y"))
        #expect(queue.next()?.guid == "b" && queue.next() == nil)
    }
}

@Suite("A task's log", .timeLimit(.minutes(5)))
struct TaskLogTests {
    @Test("is followed to its end, and by those who come late")
    func follow() async {
        let log = TaskLog()
        func read() async -> String {
            var (text, position) = ([UInt8](), 0)
            while let (bytes, next) = await log.next(after: position) {
                text += bytes
                position = next
            }
            return String(decoding: text, as: UTF8.self)
        }
        async let first = read()
        for number in 0..<100 {
            log.add("line \(number)")
            await Task.yield()
        }
        log.close()
        let all = (0..<100).map { "line \($0)\n" }.joined()
        #expect(await first == all)
        #expect(await read() == all)
        #expect(String(decoding: log.bytes, as: UTF8.self) == all)
    }

    @Test("keeps the beginning and the end of what is long")
    func bounds() async throws {
        let log = TaskLog()
        log.add("first")
        for number in 0..<20_000 { log.add("a line of the middle that is long enough to fill it, \(number)") }
        log.add("last")
        log.close()
        let text = String(decoding: log.bytes, as: UTF8.self)
        #expect(text.utf8.count < 2 * TaskLog.part + 100)
        #expect(text.hasPrefix("first\n") && text.hasSuffix("last\n") && text.contains("left out here"))
        let (bytes, position) = try #require(await log.next(after: TaskLog.part))
        #expect(bytes.count < 3 * TaskLog.part)
        #expect(await log.next(after: position) == nil)
    }

    @Test("lets go of a reader that is cancelled")
    func cancellation() async {
        let log = TaskLog()
        let reader = Task { await log.next(after: 0) == nil }
        await Task.yield()
        reader.cancel()
        #expect(await reader.value)
    }
}

/// A runner whose tasks end when the test says so.
private final class TestRunner: StagingRunner {
    private struct State {
        var began: [String] = []
        var outcomes: [String: StagingOutcome] = [:]
        var waiting: [String: CheckedContinuation<Void, Never>] = [:]
    }

    private let state = Mutex(State())

    var began: [String] { state.withLock { $0.began } }

    func end(_ guid: String, _ outcome: StagingOutcome) {
        let waiting = state.withLock { state in
            state.outcomes[guid] = outcome
            return state.waiting.removeValue(forKey: guid)
        }
        waiting?.resume()
    }

    func run(
        _ guid: String, _ request: StagingRequest, log: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) async -> StagingOutcome {
        log(Array("building \(guid)\n".utf8)[...])
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    state.began.append(guid)
                    if state.outcomes[guid] != nil || Task.isCancelled { return true }
                    state.waiting[guid] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: guid) }?.resume()
        }
        return state.withLock { $0.outcomes[guid] } ?? .cancelled
    }
}

@Suite("Staging tasks", .timeLimit(.minutes(5)))
struct StagingTasksTests {
    private static let droplet = StagedDroplet(digest: Digest.of(Array("droplet".utf8)), size: 7, result: ["a": "b"])

    private static func request(space: String = "s", callback: String? = nil) throws -> StagingRequest {
        var json: JSONObject = [
            "space_guid": .string(space), "app_guid": "app",
            "environment": [["name": "SECRET", "value": "hidden value"]],
            "lifecycle": [
                "buildpack_lifecycle": [
                    "app_bits_download_uri": "https://u:hidden@bits.test/app",
                    "droplet_upload_uri": "https://u:hidden@bits.test/droplets/x",
                    "buildpacks": [["name": "n", "key": "k", "url": "https://bits.test/b"]],
                ]
            ],
        ]
        json["completion_callback"] = callback.map { .string($0) }
        return try StagingRequest(.object(json))
    }

    /// Tasks over a store, run until the body has ended.
    private static func with<Result: Sendable>(
        _ store: any ObjectStore, limit: Int = 2,
        _ body: (StagingTasks, TestRunner) async throws -> Result
    ) async throws -> Result {
        let runner = TestRunner()
        var limits = StagingTasks.Limits()
        limits.running = limit
        limits.firstPause = .milliseconds(5)
        limits.longestPause = .milliseconds(20)
        var times = TaskClient.Times()
        times.attempts = 1
        let hosts = Set([DestinationRules.AllowedHost("127.0.0.1")].compactMap { $0 })
        let tasks = StagingTasks(
            store: store, runner: runner,
            client: TaskClient(
                rules: DestinationRules(allowedHosts: hosts, allowsPlain: true), trust: try TaskTrust(), times: times),
            limits: limits, now: { 1_000_000_000 }, logger: Logger(label: "test"))
        let service = Task { await tasks.run() }
        do {
            let result = try await body(tasks, runner)
            tasks.stop()
            await service.value
            return result
        } catch {
            tasks.stop()
            await service.value
            throw error
        }
    }

    private static func wait(_ guid: String, _ state: StagingRecord.State, _ tasks: StagingTasks) async throws {
        try await waitUntil("\(guid) is \(state)") { try await tasks.find(guid).state == state }
    }

    @Test("Each has one outcome, after which nothing of its secrets is left in the store")
    func outcomes() async throws {
        let store = MemoryObjectStore()
        try await Self.with(store) { tasks, runner in
            let record = try await tasks.begin("one", try Self.request(), by: "cc")
            #expect(record.state == .queued)
            // An answer that was lost: the same again changes nothing.
            _ = try await tasks.begin("one", try Self.request(), by: "cc")
            _ = try await tasks.begin("two", try Self.request(), by: "cc")
            try await waitUntil("both run") { runner.began.count == 2 }
            runner.end("one", .staged(Self.droplet))
            runner.end(
                "two", .failed(StagingFailure(phase: "compile", id: .compile, message: "it failed", exitCode: 7)))
            try await Self.wait("one", .staged, tasks)
            try await Self.wait("two", .failed, tasks)
            #expect(try await tasks.find("one").droplet == Self.droplet)
            #expect(try await tasks.find("two").failure?.exitCode == 7)
            await #expect(throws: StagingError.ended(guid: "one")) {
                try await tasks.begin("one", try Self.request(), by: "cc")
            }
            guard case .closed(let log) = try await tasks.log("one") else {
                Issue.record("its log is open still")
                return
            }
            #expect(String(decoding: log, as: UTF8.self) == "building one\n")
            await #expect(throws: StagingError.unknown(guid: "three")) { try await tasks.find("three") }
        }
        for key in try await store.list(prefix: "staging/", startAfter: nil, limit: 100) {
            let text = String(decoding: try await store.get(key.key).bytes, as: UTF8.self)
            #expect(!text.contains("hidden"), "\(key.key)")
        }
    }

    @Test("A space with many does not hold up another's one; no more run than may")
    func fairness() async throws {
        try await Self.with(MemoryObjectStore(), limit: 1) { tasks, runner in
            for number in 0..<20 { _ = try await tasks.begin("many-\(number)", try Self.request(space: "m"), by: "cc") }
            try await waitUntil("the first runs") { runner.began == ["many-0"] }
            _ = try await tasks.begin("lone", try Self.request(space: "l"), by: "cc")
            runner.end("many-0", .staged(Self.droplet))
            try await waitUntil("the second runs") { runner.began.count == 2 }
            #expect(runner.began == ["many-0", "lone"])
            runner.end("lone", .staged(Self.droplet))
            for number in 1..<20 { runner.end("many-\(number)", .staged(Self.droplet)) }
            for number in 1..<20 { try await Self.wait("many-\(number)", .staged, tasks) }
            #expect(runner.began.count == 21)
        }
    }

    @Test("Cancelled ones end, whether they wait or run")
    func cancelling() async throws {
        try await Self.with(MemoryObjectStore(), limit: 1) { tasks, runner in
            for guid in ["runs", "waits"] { _ = try await tasks.begin(guid, try Self.request(), by: "cc") }
            try await waitUntil("one runs") { runner.began == ["runs"] }
            try await tasks.cancel("waits", by: "cc")
            #expect(try await tasks.find("waits").state == .cancelled)
            try await tasks.cancel("runs", by: "cc")
            try await Self.wait("runs", .cancelled, tasks)
            // It stays what it is.
            try await tasks.cancel("runs", by: "cc")
            await #expect(throws: StagingError.unknown(guid: "x")) { try await tasks.cancel("x", by: "cc") }
            _ = try await tasks.begin("next", try Self.request(), by: "cc")
            try await waitUntil("the next runs") { runner.began == ["runs", "next"] }
        }
    }

    @Test("An outcome that a step reports is the task's, and what runs or waits for it ends")
    func completing() async throws {
        try await Self.with(MemoryObjectStore(), limit: 1) { tasks, runner in
            for guid in ["runs", "waits"] { _ = try await tasks.begin(guid, try Self.request(), by: "cc") }
            try await waitUntil("one runs") { runner.began == ["runs"] }
            for guid in ["waits", "runs"] {
                #expect(try await tasks.complete(guid, .staged(Self.droplet)).state == .staged)
                #expect(try await tasks.complete(guid, .staged(Self.droplet)).droplet == Self.droplet)
                await #expect(throws: StagingError.decided(guid: guid)) { try await tasks.complete(guid, .cancelled) }
            }
            await #expect(throws: StagingError.unknown(guid: "x")) { try await tasks.complete("x", .cancelled) }
            _ = try await tasks.begin("next", try Self.request(), by: "cc")
            try await waitUntil("the next runs") { runner.began == ["runs", "next"] }
            #expect(try await tasks.find("runs").state == .staged)
        }
    }

    @Test("Operators see what runs, some of what waits, and what ended last, also after a restart")
    func recent() async throws {
        let store = MemoryObjectStore()
        try await Self.with(store, limit: 1) { tasks, runner in
            for number in 0..<30 { _ = try await tasks.begin("t\(number)", try Self.request(), by: "cc") }
            for number in 0..<25 { runner.end("t\(number)", .staged(Self.droplet)) }
            try await waitUntil("the 26th runs") { runner.began.last == "t25" }
            let recent = try await tasks.recent()
            #expect(recent.filter { $0.state == .running }.map(\.guid) == ["t25"])
            #expect(Set(recent.filter { $0.state == .queued }.map(\.guid)) == ["t26", "t27", "t28", "t29"])
            #expect(
                Set(recent.filter { $0.state == .staged }.map(\.guid)) == Set((5..<25).map { "t\($0)" }))
        }
        try await Self.with(store, limit: 1) { tasks, _ in
            try await waitUntil("what ended is known again") {
                try await tasks.recent().count { $0.state == .staged } == StagingTasks.shown
            }
        }
    }

    @Test(
        "A report is what an upload step says, and nothing else",
        arguments: [
            (
                #"{"failed":false,"result":"{}","droplet":{"digest":"sha256:\#(String(repeating: "0", count: 64))","size":1}}"#,
                true
            ),
            (#"{"failed":true,"failure_reason":"no"}"#, true), (#"{"failed":true}"#, true), ("[]", false),
            ("{}", false), (#"{"failed":false}"#, false),
            (#"{"failed":false,"result":"{}","droplet":{"digest":"x","size":1}}"#, false),
            (
                #"{"failed":false,"result":"[","droplet":{"digest":"sha256:\#(String(repeating: "0", count: 64))","size":1}}"#,
                false
            ),
        ])
    func reports(text: String, isOne: Bool) throws {
        #expect((StagingOutcome(report: try JSONValue(parsing: text)) != nil) == isOne)
    }

    @Test(
        "A reason that ends with an exit code of the build says what failed",
        arguments: [
            ("exit status 222", StagingFailure.ID.nothingDetected), ("code: 223", .compile), ("224", .release),
            ("225", .other), ("the droplet can't be sent", .other), ("", .other),
        ])
    func reasons(reason: String, id: StagingFailure.ID) throws {
        guard case .failed(let failure) = StagingOutcome(report: ["failed": true, "failure_reason": .string(reason)])
        else { throw CancellationError() }
        #expect(failure.id == id && !failure.message.isEmpty)
    }

    @Test("A store that is full, or loses answers, for a while costs no outcome", arguments: ["full", "unknown"])
    func fullStore(_ kind: String) async throws {
        let failures = Mutex(0)
        @Sendable func fails(_ operation: ObjectOperation, _ key: ObjectKey?) -> Bool {
            guard operation == .put, key?.text == "staging/tasks/t" else { return false }
            return failures.withLock { left in
                guard left > 0 else { return false }
                left -= 1
                return true
            }
        }
        let store = InstrumentedObjectStore(
            MemoryObjectStore(),
            fault: { (operation, key) throws(ObjectStoreError) in
                if kind == "full", fails(operation, key) { throw .full }
            }, loss: { kind == "unknown" && fails($0, $1) ? .lost : .given })
        try await Self.with(store, limit: 1) { tasks, runner in
            _ = try await tasks.begin("first", try Self.request(), by: "cc")
            try await waitUntil("the first runs") { runner.began == ["first"] }
            _ = try await tasks.begin("t", try Self.request(), by: "cc")
            // Its beginning can't be written, and later its outcome can't.
            failures.withLock { $0 = 5 }
            runner.end("first", .staged(Self.droplet))
            try await waitUntil("it runs") { runner.began == ["first", "t"] }
            failures.withLock { $0 = 5 }
            runner.end("t", .staged(Self.droplet))
            try await Self.wait("t", .staged, tasks)
            #expect(failures.withLock { $0 } < 5)
            #expect(try await tasks.find("t").attempts == 1)
            // The place is free again.
            _ = try await tasks.begin("next", try Self.request(), by: "cc")
            try await waitUntil("the next runs") { runner.began.last == "next" }
        }
    }

    @Test("A task whose flush failed runs once it is asked for again; an outcome whose flush failed is told")
    func failedFlush() async throws {
        let failures = Mutex(0)
        let store = InstrumentedObjectStore(
            MemoryObjectStore(),
            fault: { (operation, _) throws(ObjectStoreError) in
                let fails = failures.withLock { left in
                    guard operation == .sync, left > 0 else { return false }
                    left -= 1
                    return true
                }
                if fails { throw .full }
            })
        try await Self.controller([200]) { server in
            let request = try Self.request(callback: "http://127.0.0.1:\(server.port)/done")
            try await Self.with(store, limit: 1) { tasks, runner in
                failures.withLock { $0 = 1 }
                await #expect(throws: StagingError.self) { try await tasks.begin("t", request, by: "cc") }
                _ = try await tasks.begin("t", request, by: "cc")
                try await waitUntil("it runs") { runner.began == ["t"] }
                failures.withLock { $0 = 3 }
                runner.end("t", .staged(Self.droplet))
                try await waitUntil("it was told") { try await tasks.find("t").delivery?.state == .delivered }
                #expect(server.requests.count == 1 && runner.began == ["t"])

                for guid in ["runs", "waits"] { _ = try await tasks.begin(guid, try Self.request(), by: "cc") }
                failures.withLock { $0 = 1 }
                await #expect(throws: StagingError.self) { try await tasks.cancel("waits", by: "cc") }
                // The outcome was written all the same: its turn comes, and nothing runs.
                runner.end("runs", .staged(Self.droplet))
                try await Self.wait("runs", .staged, tasks)
                try await Self.wait("waits", .cancelled, tasks)
                _ = try await tasks.begin("next", try Self.request(), by: "cc")
                try await waitUntil("the next runs") { runner.began == ["t", "runs", "next"] }
            }
        }
    }

    @Test("A process whose store is full for good ends all the same, and the next one has the task")
    func fullForGood() async throws {
        let isFull = Mutex(false)
        let memory = MemoryObjectStore()
        let store = InstrumentedObjectStore(
            memory,
            fault: { (operation, _) throws(ObjectStoreError) in
                if operation == .put, isFull.withLock({ $0 }) { throw .full }
            })
        try await Self.with(store, limit: 1) { tasks, runner in
            _ = try await tasks.begin("t", try Self.request(), by: "cc")
            try await waitUntil("it runs") { runner.began == ["t"] }
            isFull.withLock { $0 = true }
            runner.end("t", .staged(Self.droplet))
            try await waitUntil("the outcome was tried to be written") {
                (store.statistics[.put]?.failures ?? 0) >= 2
            }
            #expect(try await tasks.find("t").state == .running)
        }
        try await Self.with(memory, limit: 1) { tasks, runner in
            runner.end("t", .staged(Self.droplet))
            try await Self.wait("t", .staged, tasks)
        }
    }

    @Test("What waited or ran when the process ended is begun again, a bounded number of times")
    func restart() async throws {
        let store = MemoryObjectStore()
        try await Self.with(store, limit: 1) { tasks, runner in
            for guid in ["a", "b"] { _ = try await tasks.begin(guid, try Self.request(), by: "cc") }
            try await waitUntil("the first runs") { runner.began == ["a"] }
        }
        for _ in 1..<StagingTasks.maximumAttempts {
            try await Self.with(store, limit: 1) { tasks, runner in
                try await waitUntil("it runs again") { runner.began == ["a"] }
            }
        }
        try await Self.with(store, limit: 1) { tasks, runner in
            try await Self.wait("a", .failed, tasks)
            #expect(try await tasks.find("a").failure?.message.contains("3 times") == true)
            try await waitUntil("the other one has its turn") { runner.began == ["b"] }
            runner.end("b", .staged(Self.droplet))
            try await Self.wait("b", .staged, tasks)
        }
    }

    /// A controller that answers statuses in their order, then the last one.
    private static func controller<Result>(
        _ statuses: [Int], _ body: (ScriptedServer) async throws -> Result
    ) async throws -> Result {
        try await ScriptedServer.with(
            { _, number, connection in
                connection.answer(statuses[min(number, statuses.count - 1)])
            }, body)
    }

    @Test("An outcome is told until it has arrived, with the same body")
    func telling() async throws {
        try await Self.controller([500, 429, 503, 200]) { server in
            try await Self.with(MemoryObjectStore()) { tasks, runner in
                let callback = "http://cc:hidden@127.0.0.1:\(server.port)/done"
                _ = try await tasks.begin("t", try Self.request(callback: callback), by: "cc")
                runner.end("t", .staged(Self.droplet))
                try await waitUntil("it was told") { try await tasks.find("t").delivery?.state == .delivered }
                let bodies = server.requests.map { String(decoding: $0.body, as: UTF8.self) }
                #expect(bodies == Array(repeating: #"{"result":{"a":"b"}}"#, count: 4))
                #expect(server.requests.allSatisfy { $0.header("Authorization") != nil && $0.target == "/done" })
            }
        }
    }

    @Test("A refusal is final, and one of a task that is over already counts as told", arguments: [400, 404, 422])
    func refusedTelling(status: Int) async throws {
        try await Self.controller([status]) { server in
            try await Self.with(MemoryObjectStore()) { tasks, runner in
                let callback = "http://127.0.0.1:\(server.port)/done"
                _ = try await tasks.begin("t", try Self.request(callback: callback), by: "cc")
                runner.end("t", .failed(StagingFailure(phase: "x", id: .nothingDetected, message: "no")))
                try await waitUntil("it is given up") { try await tasks.find("t").delivery?.state == .abandoned }
                #expect(
                    server.requests.map { String(decoding: $0.body, as: UTF8.self) }
                        == [#"{"error":{"id":"NoAppDetectedError","message":"no"}}"#])
            }
        }
        try await ScriptedServer.with({ _, _, connection in
            connection.answer(422, [], Array(#"{"code":10008,"error_code":"CF-InvalidRequest"}"#.utf8))
        }) { server in
            try await Self.with(MemoryObjectStore()) { tasks, runner in
                let callback = "http://127.0.0.1:\(server.port)/done"
                _ = try await tasks.begin("t", try Self.request(callback: callback), by: "cc")
                runner.end("t", .cancelled)
                try await waitUntil("it counts as told") { try await tasks.find("t").delivery?.state == .delivered }
            }
        }
    }

    @Test("What was not told is told by the next process, and then its URL is erased")
    func toldLater() async throws {
        let store = MemoryObjectStore()
        let isThere = Mutex(false)
        try await ScriptedServer.with({ _, _, connection in
            connection.answer(isThere.withLock { $0 } ? 200 : 503)
        }) { server in
            try await Self.with(store) { tasks, runner in
                let callback = "http://cc:hidden@127.0.0.1:\(server.port)/done"
                _ = try await tasks.begin("late", try Self.request(callback: callback), by: "cc")
                runner.end("late", .staged(Self.droplet))
                try await waitUntil("it was tried") { try await tasks.find("late").delivery?.attempts ?? 0 >= 2 }
            }
            isThere.withLock { $0 = true }
            let before = server.requests.count
            try await Self.with(store) { tasks, _ in
                try await waitUntil("it was told") { try await tasks.find("late").delivery?.state == .delivered }
                #expect(server.requests.count == before + 1)
            }
        }
        let record = try await store.get(try ObjectKey("staging/tasks/late"))
        #expect(!String(decoding: record.bytes, as: UTF8.self).contains("hidden"))
    }

    @Test(
        "A droplet goes to Cistern's own route by PUT, to cc-uploader by POST",
        arguments: [
            ("https://u:p@bits.test:8443/droplets/x?stack=tiny", "put"), ("https://bits.test/droplets/x/y", "put"),
            ("https://uploader.test/v1/droplet/x", "post"), ("https://uploader.test", "post"),
            ("https://droplets/x", "post"),
        ])
    func forms(url: String, form: String) throws {
        let request = try StagingRequest([
            "lifecycle_data": [
                "app_bits_download_uri": "https://bits.test/a", "droplet_upload_uri": .string(url),
                "buildpacks": [["url": "https://bits.test/b"]],
            ]
        ])
        #expect(request.uploadForm == form)
    }

    @Test(
        "A request that can't be meant is refused with a sentence",
        arguments: [
            ("[]", "no JSON object"), ("{}", "buildpack_lifecycle is missing"),
            (#"{"lifecycle_data":{}}"#, "app_bits_download_uri"),
            (#"{"lifecycle_data":{"app_bits_download_uri":"u"}}"#, "droplet_upload_uri"),
            (
                #"{"lifecycle_data":{"app_bits_download_uri":"u","droplet_upload_uri":"v","buildpacks":[{"name":"x"}]}}"#,
                "buildpacks"
            ),
            (
                #"{"lifecycle_data":{"app_bits_download_uri":"u","droplet_upload_uri":"v","buildpacks":[{"url":"x"}]},"#
                    + #""memory_mb":1}"#, "memory_mb"
            ),
            (
                #"{"lifecycle_data":{"app_bits_download_uri":"u","droplet_upload_uri":"v","buildpacks":[{"url":"x"}]},"#
                    + #""environment":[{"name":"A=B","value":"secret"}]}"#, "environment"
            ),
        ])
    func refusals(text: String, sentence: String) throws {
        let fault = #expect(throws: StagingRequest.Fault.self) { try StagingRequest(try JSONValue(parsing: text)) }
        #expect(fault?.description.contains(sentence) == true && fault?.description.contains("secret") == false)
    }
}
