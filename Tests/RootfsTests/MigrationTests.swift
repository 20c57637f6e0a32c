import ImagesTesting
import JSON
import Logging
import ObjectStore
import Rootfs
import Runtime
import Synchronization
import Testing

/// Kills a process at one of its writes, before it has an effect or after: from then on nothing happens any more.
private final class Killer: Sendable {
    private struct State {
        var writes = 0
        var isDead = false
    }

    private let state = Mutex(State())
    private let victim: Int
    private let hasEffect: Bool

    /// - Parameter victim: the write's index.
    init(victim: Int, hasEffect: Bool) {
        self.victim = victim
        self.hasEffect = hasEffect
    }

    var isDead: Bool { state.withLock { $0.isDead } }

    func store(over base: any ObjectStore) -> InstrumentedObjectStore {
        InstrumentedObjectStore(
            base,
            fault: { (operation, _) throws(ObjectStoreError) in
                let isOver = self.state.withLock { state in
                    if !state.isDead, self.isWrite(operation) {
                        state.isDead = state.writes == self.victim && !self.hasEffect
                    }
                    return state.isDead
                }
                if isOver { throw .io("killed") }
            },
            loss: { operation, _ in
                self.state.withLock { state in
                    guard self.isWrite(operation) else { return .given }
                    defer { state.writes += 1 }
                    state.isDead = state.writes == self.victim
                    return state.isDead ? .lost : .given
                }
            })
    }

    private func isWrite(_ operation: ObjectOperation) -> Bool { operation == .put || operation == .delete }
}

/// Keeps what is logged.
private struct Lines: LogHandler {
    final class Kept: Sendable {
        private let lines = Mutex<[String]>([])
        func add(_ line: String) { lines.withLock { $0.append(line) } }
        var all: [String] { lines.withLock { $0 } }
    }

    let kept: Kept
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    init(_ kept: Kept) { self.kept = kept }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { kept.add(event.message.description) }
}

@Suite("A store that kept the state of each version in an object of its own", .timeLimit(.minutes(5)))
struct MigrationTests {
    private static let stack = TestHouse.stack
    private static let warning = "earlier versions of Cistern can't read"

    /// As the version before wrote it: a rollback in the history, states of every kind, one of them damaged, and members
    /// that nobody knows; and a second stack of which nothing was promoted.
    private static let former = [
        "rootfs/\(stack)/current": """
        {"generation":4,"history":[\
        {"at":40,"by":"ann","kind":"rollback","reason":"3 is bad","version":"2"},\
        {"at":30,"by":"ann","reason":"","version":"3"},{"at":20,"by":"bob","reason":"","version":"2"},\
        {"at":10,"by":"bob","reason":"first","version":"1"}],"later":[1.50],"version":"2"}
        """,
        "rootfs/\(stack)/1/state": #"{"at":11,"by":"ann","reason":"old","state":"deprecated","until":7}"#,
        "rootfs/\(stack)/3/state": #"{"at":41,"by":"ann","reason":"CVE-1","state":"blocked"}"#,
        "rootfs/\(stack)/4/state": #"{"at":42,"by":"bob","reason":"again","state":"available"}"#,
        "rootfs/\(stack)/5/state": "{",
        "rootfs/other/1/state": #"{"at":43,"by":"bob","reason":"never ran","state":"blocked"}"#,
    ]

    private static func house() async throws -> TestHouse {
        let house = try await TestHouse()
        for version in ["1", "2", "3", "4", "5", "6"] { try await house.importRootfs(version) }
        let variant = try await house.store.get(try ObjectKey("rootfs/\(stack)/1/amd64")).bytes
        for version in ["1", "2"] {
            try await house.store.put(ObjectKey("rootfs/other/\(version)/amd64"), variant, if: .absent)
        }
        for (key, text) in former { try await house.store.put(try ObjectKey(key), Array(text.utf8), if: .absent) }
        return house
    }

    private static func copy(_ store: MemoryObjectStore) async throws -> MemoryObjectStore {
        let copy = MemoryObjectStore()
        for info in try await store.list(prefix: "", startAfter: nil, limit: .max) {
            try await copy.put(info.key, try await store.get(info.key).bytes, if: .absent)
        }
        return copy
    }

    private static func catalog(_ store: any ObjectStore, _ house: TestHouse, _ lines: Lines.Kept? = nil) async throws
        -> RootfsCatalog
    {
        try await RootfsCatalog(
            store: store, blobs: house.blobs,
            logger: lines.map { lines in Logger(label: "test") { _ in Lines(lines) } }, now: { 100_000_000_000 })
    }

    /// Compares all that is said with what was.
    private static func expectSame(_ rootfs: RootfsCatalog, _ place: String) throws {
        let stack = try StackName(stack)
        let history = try #require(rootfs.history(stack), "\(place)")
        #expect(history.promotions.map(\.version.text) == ["2", "3", "2", "1"], "\(place)")
        #expect(history.promotions.map(\.kind) == [.rollback, .promote, .promote, .promote], "\(place)")
        #expect(history.promotions.map(\.at.seconds) == [40, 30, 20, 10] && history.generation == 4, "\(place)")
        #expect(history.promotions.map(\.by) == ["ann", "ann", "bob", "bob"], "\(place)")
        #expect(history.promotions.map(\.reason) == ["3 is bad", "", "", "first"], "\(place)")
        #expect(rootfs.rollbackTarget(stack)?.text == "1", "\(place)")
        for (version, availability, at, by, reason) in [
            ("1", VersionState.Availability.deprecated, 11, "ann", "old"), ("3", .blocked, 41, "ann", "CVE-1"),
            ("4", .available, 42, "bob", "again"),
        ] {
            let state = try #require(rootfs.versionState(stack, try VersionName(version)), "\(version) \(place)")
            #expect(state.availability == availability && state.at.seconds == at, "\(version) \(place)")
            #expect(state.by == by && state.reason == reason, "\(version) \(place)")
        }
        #expect(rootfs.availability(stack, try VersionName("5")) == .blocked, "it is not known, \(place)")
        for version in ["2", "6"] { #expect(rootfs.versionState(stack, try VersionName(version)) == nil, "\(place)") }
        let other = try StackName("other")
        #expect(rootfs.history(other) == nil, "\(place)")
        #expect(rootfs.versionState(other, try VersionName("1"))?.reason == "never ran", "\(place)")
        #expect(rootfs.availability(other, try VersionName("1")) == .blocked, "\(place)")
        #expect(rootfs.versionState(other, try VersionName("2")) == nil, "\(place)")
    }

    private static func keys(_ store: MemoryObjectStore) async throws -> [String] {
        try await store.list(prefix: "", startAfter: nil, limit: .max).map(\.key.text)
    }

    @Test("reading it changes nothing")
    func reading() async throws {
        let house = try await Self.house()
        let lines = Lines.Kept()
        try Self.expectSame(try await Self.catalog(house.store, house, lines), "unmigrated")
        for (key, text) in Self.former {
            #expect(String(decoding: try await house.store.get(try ObjectKey(key)).bytes, as: UTF8.self) == text)
        }
        #expect(lines.all.isEmpty)
    }

    @Test("is migrated at the start, which says so before it writes anything, and once")
    func migration() async throws {
        let house = try await Self.house()
        let lines = Lines.Kept()
        let early = Mutex(false)
        let watched = InstrumentedObjectStore(house.store) { (operation, _) throws(ObjectStoreError) in
            guard operation == .put || operation == .delete else { return }
            if !lines.all.contains(where: { $0.contains(Self.warning) }) { early.withLock { $0 = true } }
        }
        let rootfs = try await Self.catalog(watched, house, lines)
        try await rootfs.migrate()
        #expect(!early.withLock { $0 } && lines.all.count == 1)
        try Self.expectSame(rootfs, "migrated")
        #expect(
            try await Self.keys(house.store).filter { $0.hasSuffix("/state") } == [
                "quarantine/rootfs/\(Self.stack)/5/state"
            ])
        let record = try JSONValue(
            parsing: try await house.store.get(try ObjectKey("rootfs/\(Self.stack)/current")).bytes)
        #expect(record["format"] == 2 && record["later"] == [.number("1.50")])
        #expect(record["states"]?["1"]?["until"] == 7)
        // The version before takes a record with this member for its own, and writes it over without the states.
        #expect(record["history"] == nil)

        let again = try await Self.catalog(house.store, house, lines)
        try await again.migrate()
        try Self.expectSame(again, "started again")
        #expect(lines.all.count == 1)
    }

    @Test("killed at any write, it says the same to the next start, which completes it", arguments: [false, true])
    func killed(hasEffect: Bool) async throws {
        let house = try await Self.house()
        var write = 0
        while true {
            let store = try await Self.copy(house.store)
            let killer = Killer(victim: write, hasEffect: hasEffect)
            let place = "killed \(hasEffect ? "after" : "before") write \(write)"
            try await Self.catalog(killer.store(over: store), house).migrate()
            let unmigrated = try await Self.catalog(try await Self.copy(store), house)
            try Self.expectSame(unmigrated, place)
            let stack = try StackName(Self.stack)
            // Whatever is changed first, by a start that can't migrate.
            for version in ["3", "5"] {
                await #expect(throws: ImageError.self, "\(version) is blocked, \(place)") {
                    try await unmigrated.promote(stack, try VersionName(version), by: "t", reason: "")
                }
            }
            try await unmigrated.promote(stack, try VersionName("6"), by: "t", reason: "")
            #expect(unmigrated.rollbackTarget(stack)?.text == "2")

            let next = try await Self.catalog(store, house)
            try await next.migrate()
            try Self.expectSame(next, "\(place), started again")
            #expect(try await Self.keys(store).filter { $0.hasPrefix("rootfs/") && $0.hasSuffix("/state") }.isEmpty)
            try Self.expectSame(try await Self.catalog(store, house), "\(place), started twice")
            guard killer.isDead else { break }
            write += 1
        }
        // Two swaps, five objects of before, and a copy of the one that is damaged.
        #expect(write == 8)
    }

    @Test("on a store that takes nothing the start goes on with what it reads, and the next change migrates")
    func full() async throws {
        let house = try await Self.house()
        let isFull = Mutex(true)
        let lines = Lines.Kept()
        let store = InstrumentedObjectStore(house.store) { (operation, _) throws(ObjectStoreError) in
            if operation == .put, isFull.withLock({ $0 }) { throw .full }
        }
        let rootfs = try await Self.catalog(store, house, lines)
        try await rootfs.migrate()
        try Self.expectSame(rootfs, "full")
        #expect(lines.all.contains { $0.contains("not migrated yet") })
        let stack = try StackName(Self.stack)
        await #expect(throws: ImageError.self) {
            try await rootfs.promote(stack, try VersionName("6"), by: "t", reason: "")
        }
        isFull.withLock { $0 = false }
        await #expect(throws: ImageError.self) {
            try await rootfs.promote(stack, try VersionName("3"), by: "t", reason: "")
        }
        try await rootfs.promote(stack, try VersionName("6"), by: "t", reason: "")
        let again = try await Self.catalog(house.store, house)
        #expect(try again.current(stack).text == "6")
        #expect(again.availability(stack, try VersionName("3")) == .blocked)
        #expect(
            try await Self.keys(house.store).filter { $0.hasPrefix("rootfs/\(Self.stack)/") && $0.hasSuffix("/state") }
                .isEmpty)
    }

    @Test("with a damaged history, what is said of versions stays, the rest waits for a word, and nothing is freed")
    func damaged() async throws {
        let house = try await Self.house()
        let stack = try StackName(Self.stack)
        try await house.store.put(try ObjectKey("rootfs/\(Self.stack)/current"), Array("{".utf8), if: .always)
        let rootfs = try await Self.catalog(house.store, house)
        try await rootfs.migrate()
        for version in ["1", "2", "3", "4", "5", "6"] {
            #expect(rootfs.availability(stack, try VersionName(version)) == .blocked)
        }
        for version in ["3", "5"] {
            await #expect(throws: ImageError.self) {
                try await rootfs.promote(stack, try VersionName(version), by: "t", reason: "")
            }
        }
        try await rootfs.promote(stack, try VersionName("6"), by: "t", reason: "")
        for rootfs in [rootfs, try await Self.catalog(house.store, house)] {
            #expect(try rootfs.current(stack).text == "6")
            let states = try ["1", "2", "3", "4", "5", "6"].map { rootfs.availability(stack, try VersionName($0)) }
            #expect(states == [.deprecated, .blocked, .blocked, .available, .blocked, .available])
        }
    }
}
