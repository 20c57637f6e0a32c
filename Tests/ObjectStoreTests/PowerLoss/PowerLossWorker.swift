import ObjectStore

/// One of the tasks that work on a store until its power is cut.
struct PowerLossWorker {
    let task: Int
    let name: String
    let store: FilesystemObjectStore
    let files: SimulatedFileSystem
    let history: History
    var random: SeededRandom

    private var contentNumber = 0

    init(
        task: Int, name: String, store: FilesystemObjectStore, files: SimulatedFileSystem, history: History,
        random: SeededRandom
    ) {
        self.task = task
        self.name = name
        self.store = store
        self.files = files
        self.history = history
        self.random = random
    }

    /// Stops at the first error that power loss may cause.
    mutating func work(operations: Int, startingWith start: History.State) async {
        do {
            for _ in 0..<operations { try await step() }
        } catch {
            // Power is cut: whatever was under way may have happened or not.
        }
    }

    private mutating func key() -> String {
        // Some are above others, so that only one of them can be there.
        let names = ["a", "b", "d", "d/x", "d/y/z", "e/f", "e/f/g"]
        return "t\(task)/" + (names.randomElement(using: &random) ?? "")
    }

    /// Bytes that no other write has, up to several blocks of them.
    private mutating func content() -> [UInt8] {
        contentNumber += 1
        let head = Array("\(name) \(task) \(contentNumber) ".utf8)
        let length = Int.random(in: 0...(1 << Int.random(in: 3...12, using: &random)), using: &random)
        return head + (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ contentNumber) }
    }

    private mutating func step() async throws {
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<8: try await put()
        case 8..<11: try await delete()
        case 11..<14: try await stream()
        case 14..<16: try await count()
        default:
            let time = history.now()
            do throws(ObjectStoreError) {
                try await store.sync()
                history.synced(since: time)
            } catch {
                // A flush that failed promises nothing, and work goes on.
                if files.isCut { throw error }
            }
        }
    }

    /// Runs an operation whose effect is as recorded, or that changes nothing.
    private func record(
        _ effect: History.Effect, isDurable: Bool, _ run: () async throws(ObjectStoreError) -> Void
    ) async throws {
        history.begin(task, effect)
        do throws(ObjectStoreError) {
            try await run()
            history.end(task, isDurable: isDurable)
        } catch {
            // A put or delete that failed while there is power was not taken, since the journal could not be written.
            // A stream may yet become durable, so its task ends.
            switch error {
            case .unknown: throw error
            case .io where files.isCut || isDurable: throw error
            default: break
            }
            history.cancel(task)
        }
    }

    private mutating func put() async throws {
        let (key, content) = (key(), content())
        let condition: PutCondition = Int.random(in: 0..<4, using: &random) == 0 ? .absent : .always
        try await record(.write(key: key, content: content), isDurable: false) { () throws(ObjectStoreError) in
            try await store.put(ObjectKey(key), content, if: condition)
        }
    }

    private mutating func delete() async throws {
        let key = key()
        try await record(.delete(key: key), isDurable: false) { () throws(ObjectStoreError) in
            // With its version, since a delete that finds nothing would be no operation at all.
            let version = try await store.head(ObjectKey(key)).version
            try await store.delete(ObjectKey(key), ifVersion: version)
        }
    }

    private mutating func stream() async throws {
        let (key, content) = (key(), content())
        let isAborted = Int.random(in: 0..<4, using: &random) == 0
        let rests = Bool.random(using: &random)
        let middle = Int.random(in: 0...content.count, using: &random)
        try await record(.write(key: key, content: content), isDurable: true) { () throws(ObjectStoreError) in
            let writer = try await store.writer(for: ObjectKey(key))
            try await writer.write(Array(content[..<middle]))
            if rests { try await writer.rest() }
            try await writer.write(Array(content[middle...]))
            if isAborted {
                await writer.abort()
                throw .cancelled
            }
            _ = try await writer.finish()
        }
    }

    private func objectIfThere(_ key: String) async throws -> StoredObject? {
        do throws(ObjectStoreError) {
            return try await store.get(ObjectKey(key))
        } catch {
            if case .missing = error { return nil }
            throw error
        }
    }

    /// Raises the counter that all tasks share.
    private mutating func count() async throws {
        let counter = try ObjectKey("counter")
        let object = try await objectIfThere("counter")
        let condition: PutCondition = object.map { .version($0.info.version) } ?? .absent
        let next = 1 + (object.flatMap { Int(String(decoding: $0.bytes, as: UTF8.self)) } ?? 0)
        try await record(.count(next), isDurable: false) { () throws(ObjectStoreError) in
            try await store.put(counter, Array("\(next)".utf8), if: condition)
        }
    }
}
