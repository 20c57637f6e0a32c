import JSON
import ObjectStore
import Synchronization
import Testing

@testable import Records

/// A counter with a note that may be missing.
private struct Count: JSONRecord, Hashable {
    var count: Int64
    var note: String?

    init(count: Int64, note: String? = nil) {
        self.count = count
        self.note = note
    }

    init?(_ json: JSONValue, at key: ObjectKey) {
        guard let count = json["count"]?.integer else { return nil }
        self.init(count: count, note: json["note"]?.string)
    }

    var json: JSONValue {
        var members: JSONObject = ["count": .integer(count)]
        if let note { members["note"] = .string(note) }
        return .object(members)
    }
}

private struct Failure: RecordFailure, Hashable {
    let error: RecordError
    init(_ error: RecordError) { self.error = error }
}

@Suite("Records")
struct RecordStoreTests {
    private let memory = MemoryObjectStore()
    private let key: ObjectKey
    private var records: RecordStore<Failure> { RecordStore(memory) }

    init() throws { key = try ObjectKey("counts/a") }

    private func put(_ text: String) async throws { try await memory.put(key, Array(text.utf8), if: .always) }
    private func text() async throws -> String { String(decoding: try await memory.get(key).bytes, as: UTF8.self) }

    @Test("a record of a newer format is told apart from a damaged one, and both from none")
    func faults() async throws {
        #expect(try await !records.find(key, as: Count.self).isThere)
        try await put(#"{"count":1}"#)
        #expect(try await records.read(key, as: Count.self)?.value == Count(count: 1))
        for (bytes, fault) in [
            ("{\"count\":", RecordFault.damaged), ("[]", .damaged), ("", .damaged), (#"{"count":"x"}"#, .damaged),
            (#"{"format":2}"#, .newer(format: 2)), (#"{"count":1,"format":7}"#, .newer(format: 7)),
        ] {
            try await put(bytes)
            guard case .unreadable(let record) = try await records.find(key, as: Count.self) else {
                Issue.record("\(bytes) was read")
                continue
            }
            #expect(record.fault == fault && record.key == key)
            #expect(try await records.readable(key, as: Count.self) == nil)
            await #expect(throws: Failure(.unreadable(record))) { try await records.read(key, as: Count.self) }
        }
    }

    @Test("what can't be read is counted once, until it is written over, gone or readable again")
    func unreadable() async throws {
        let unreadable = UnreadableRecords()
        let records = RecordStore<Failure>(memory, unreadable: unreadable)
        for end in 0..<3 {
            try await put("{")
            for _ in 0..<3 { _ = try await records.readable(key, as: Count.self) }
            #expect(unreadable.all.map(\.key) == [key])
            switch end {
            case 0: try await records.write(Count(count: 1), at: key)
            case 1: try await records.remove(key)
            default:
                try await put(#"{"count":1}"#)
                _ = try await records.readable(key, as: Count.self)
            }
            #expect(unreadable.all.isEmpty)
        }
    }

    @Test("a change carries over what this binary does not know, and nothing that it took out")
    func unknownMembers() async throws {
        try await put(#"{"count":1,"note":"n","later":{"a":[1.50]}}"#)
        let changed = try await records.update(key, as: Count.self) { old in
            .write(Count(count: (old?.value.count ?? 0) + 1))
        }
        #expect(changed?.value == Count(count: 2))
        #expect(try await text() == #"{"count":2,"later":{"a":[1.50]}}"#)
    }

    @Test("a damaged record is written over only where that is asked for, and one of a newer format never")
    func replacing() async throws {
        for (bytes, isReplaced) in [("{", true), (#"{"count":1,"format":2}"#, false)] {
            for replacing in [false, true] {
                try await put(bytes)
                let result = await Task {
                    try await records.update(key, as: Count.self, replacingDamaged: replacing) { old in
                        #expect(old == nil)
                        return .write(Count(count: 5))
                    }
                }.result
                #expect(try await text() == (replacing && isReplaced ? #"{"count":5}"# : bytes))
                if case .success = result { #expect(replacing && isReplaced) }
            }
        }
    }

    @Test("of many who change a record at once each does it once")
    func concurrent() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<5 {
                        try await records.update(key, as: Count.self) {
                            .write(Count(count: ($0?.value.count ?? 0) + 1))
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await text() == #"{"count":40}"#)
    }

    @Test(
        "a change decides by what is there, and not by what a cache of a shared store remembers",
        arguments: [true, false])
    func cached(keeps: Bool) async throws {
        let shared = MemoryObjectStore(exclusive: false)
        // What is remembered never gets older.
        let (here, there) = (CachingObjectStore(shared, now: { 0 }), CachingObjectStore(shared, now: { 0 }))
        let (ours, theirs) = (RecordStore<Failure>(here), RecordStore<Failure>(there))
        try await ours.write(Count(count: 1), at: key)
        #expect(try await ours.read(key, as: Count.self)?.value == Count(count: 1))
        try await theirs.write(Count(count: 5), at: key)
        var seen: [Int64?] = []
        let now = try await ours.update(key, as: Count.self) { old in
            seen.append(old?.value.count)
            return keeps ? .keep : .write(Count(count: (old?.value.count ?? 0) + 1))
        }
        #expect(seen == [5], "at once")
        #expect(now?.value == Count(count: keeps ? 5 : 6))
        #expect(try await ours.read(key, as: Count.self)?.value == now?.value)
        // One that is gone meanwhile is begun anew.
        try await theirs.remove(key)
        #expect(
            try await ours.update(key, as: Count.self) { $0 == nil ? .write(Count(count: 0)) : .keep }?.value.count == 0
        )
    }

    @Test("a change that others get ahead of each time is given up")
    func contended() async throws {
        let attempts = Mutex(0)
        await #expect(throws: Failure(.contended(key))) {
            try await records.update(key, as: Count.self) { (old) throws(Failure) in
                attempts.withLock { $0 += 1 }
                try await records.write(Count(count: Int64.random(in: 0...Int64.max)), at: key)
                return .write(Count(count: 0))
            }
        }
        #expect(attempts.withLock { $0 } == 16)
    }

    @Test("a record is kept, or removed unless it was changed meanwhile")
    func removing() async throws {
        #expect(try await records.update(key, as: Count.self) { _ in .remove } == nil)
        try await put(#"{"count":1}"#)
        #expect(try await records.update(key, as: Count.self) { _ in .keep }?.value.count == 1)
        var isFirst = true
        let rest = try await records.update(key, as: Count.self) { (old) throws(Failure) in
            if isFirst { try await records.write(Count(count: 2), at: key) }
            isFirst = false
            return .remove
        }
        #expect(rest == nil)
        await #expect(throws: ObjectStoreError.missing(key)) { try await memory.get(key) }
    }
}

@Suite("A write whose answer is lost")
struct LostAnswerTests {
    private let memory = MemoryObjectStore()

    @Test("counts if it happened", arguments: [PutCondition.absent, .always])
    func happened(condition: PutCondition) async throws {
        let key = try ObjectKey("counts/a")
        let records = RecordStore<Failure>(ForgetfulStore(base: memory, applies: true))
        #expect(try await records.write(Count(count: 3), at: key, if: condition) != nil)
        #expect(try await records.read(key, as: Count.self)?.value == Count(count: 3))
    }

    @Test(
        "an update whose answer is lost is made once if it happened, and fails if it did not", arguments: [true, false])
    func update(applies: Bool) async throws {
        let key = try ObjectKey("counts/a")
        let store = ForgetfulStore(base: memory, applies: applies)
        let records = RecordStore<Failure>(store)
        for expected in 1...3 as ClosedRange<Int64> {
            store.forget()
            let now = try? await records.update(key, as: Count.self) {
                .write(Count(count: ($0?.value.count ?? 0) + 1))
            }
            #expect(now?.value.count == (applies ? expected : nil))
        }
    }
}

/// Loses the answer of the next `put`.
private final class ForgetfulStore: ForwardingObjectStore {
    let base: any ObjectStore
    private let applies: Bool
    private let isForgetting = Mutex(true)

    init(base: any ObjectStore, applies: Bool) {
        self.base = base
        self.applies = applies
    }

    func forget() { isForgetting.withLock { $0 = true } }

    func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        let forgets = isForgetting.withLock { isForgetting in
            defer { isForgetting = false }
            return isForgetting
        }
        guard forgets else { return try await base.put(key, bytes, if: condition) }
        if applies { _ = try await base.put(key, bytes, if: condition) }
        throw .unknown("the answer was lost")
    }
}
