import MetricsTestKit
import ObjectStore
import Testing

@Suite("Metrics of a store")
struct MeteredTests {
    @Test("count its calls by kind and outcome, and time them; handles are made once")
    func calls() async throws {
        let metrics = TestMetrics()
        let faults = InstrumentedObjectStore(MemoryObjectStore()) { operation, _ throws(ObjectStoreError) in
            if operation == .sync { throw .full }
        }
        let store = MeteredObjectStore(faults, factory: metrics)
        let made = metrics.counters.count
        let (one, other) = (try ObjectKey("a/one"), try ObjectKey("a/other"))
        try await store.put(one, [1], if: .absent)
        await #expect(throws: ObjectStoreError.self) { try await store.put(one, [2], if: .absent) }
        _ = try await store.get(one)
        await #expect(throws: ObjectStoreError.missing(other)) { try await store.get(other) }
        let writer = try await store.writer(for: other)
        try await writer.write([1, 2])
        _ = try await writer.finish()
        #expect(try await store.list(prefix: "a/", startAfter: nil, limit: 10).count == 2)
        await #expect(throws: ObjectStoreError.full) { try await store.sync() }
        let expected = [
            ("put", "ok", 1), ("put", "conflict", 1), ("get", "ok", 1), ("get", "missing", 1), ("writer", "ok", 1),
            ("write", "ok", 1), ("finish", "ok", 1), ("list", "ok", 1), ("sync", "full", 1), ("sync", "ok", 0),
        ]
        for (operation, outcome, count) in expected {
            let dimensions = [("operation", operation), ("outcome", outcome)]
            #expect(try metrics.expectCounter("store_operations", dimensions).totalValue == count, "\(dimensions)")
            #expect(try metrics.expectTimer("store_operation_duration", dimensions).values.count == count)
        }
        #expect(metrics.counters.count == made)
    }
}
