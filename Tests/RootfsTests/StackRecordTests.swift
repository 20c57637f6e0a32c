import Archive
import Droplets
import Images
import ImagesTesting
import JSON
import ObjectStore
import Rootfs
import Synchronization
import TestSupport
import Testing

/// Two who meet before either writes.
private final class Meeting: Sendable {
    private struct State {
        var arrived: Set<Int> = []
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func arrive(_ side: Int) {
        let waiting = state.withLock { state in
            state.arrived.insert(side)
            guard state.arrived.count == 2 else { return [CheckedContinuation<Void, Never>]() }
            defer { state.waiting = [] }
            return state.waiting
        }
        for waiter in waiting { waiter.resume() }
    }

    func wait() async {
        await withCheckedContinuation { waiter in
            let isThere = state.withLock { state in
                if state.arrived.count < 2 { state.waiting.append(waiter) }
                return state.arrived.count == 2
            }
            if isThere { waiter.resume() }
        }
    }
}

/// One side's way to the store: its first write under `rootfs/` waits until the other side has read, too.
private final class MeetingStore: ForwardingObjectStore {
    let base: any ObjectStore
    private let meeting: Meeting
    private let side: Int

    init(_ base: any ObjectStore, _ meeting: Meeting, _ side: Int) {
        self.base = base
        self.meeting = meeting
        self.side = side
    }

    func put(
        _ key: ObjectKey, _ bytes: [UInt8], if condition: PutCondition
    ) async throws(ObjectStoreError) -> ObjectVersion {
        if key.text.hasPrefix("rootfs/") {
            meeting.arrive(side)
            await meeting.wait()
        }
        return try await base.put(key, bytes, if: condition)
    }
}

@Suite("What is said of a stack", .timeLimit(.minutes(5)))
struct StackRecordTests {
    private static let stackText = TestHouse.stack

    private let memory = MemoryObjectStore()
    private let stack: StackName
    private let key: ObjectKey

    init() throws {
        stack = try StackName(Self.stackText)
        key = try ObjectKey("rootfs/\(Self.stackText)/current")
    }

    private func version(_ text: String) throws -> VersionName { try VersionName(text) }

    private func house(_ versions: String..., promoting promoted: [String]) async throws -> TestHouse {
        let house = try await TestHouse(store: memory)
        for version in versions { try await house.importRootfs(version) }
        for version in promoted { try await house.promote(version) }
        return house
    }

    @discardableResult
    private func set(
        _ house: TestHouse, _ text: String, _ availability: VersionState.Availability
    ) async throws -> VersionState {
        try await house.rootfs.setState(stack, try version(text), availability, by: "tester", reason: "because")
    }

    private func stored() async throws -> JSONValue { try JSONValue(parsing: try await memory.get(key).bytes) }

    enum Way: CaseIterable, Sendable { case promote, rollBack }
    enum Against: CaseIterable, Sendable { case block, remove }

    @Test(
        "two processes over one store: of who makes a version current and who blocks or removes it one is refused",
        arguments: Way.allCases, Against.allCases)
    func processes(way: Way, against: Against) async throws {
        let two = try version("2")
        for _ in 0..<10 {
            let memory = MemoryObjectStore(exclusive: false)
            let house = try await TestHouse(store: memory)
            for version in ["1", "2", "3"] { try await house.importRootfs(version) }
            for version in ["1", "2", "3"] { try await house.promote(version) }
            let meeting = Meeting()
            let houses = [
                try await TestHouse(store: memory, through: MeetingStore(memory, meeting, 0)),
                try await TestHouse(store: memory, through: MeetingStore(memory, meeting, 1)),
            ]
            let done = await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    defer { meeting.arrive(0) }
                    switch way {
                    case .promote: return (try? await houses[0].promote("2")) != nil
                    case .rollBack:
                        let history = try? await houses[0].rootfs.rollBack(stack, by: "t", reason: "")
                        return history?.current == two
                    }
                }
                group.addTask {
                    defer { meeting.arrive(1) }
                    switch against {
                    case .block: return (try? await set(houses[1], "2", .blocked)) != nil
                    case .remove: return (try? await houses[1].images.remove(stack, two)) != nil
                    }
                }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(done == 1, "one of them is refused")
            let after = try await TestHouse(store: memory).rootfs
            let isCurrent = try after.current(stack) == two
            let isThere = try after.versions(stack).contains { $0.version == two }
            #expect(isCurrent == (isThere && after.availability(stack, two) == .available))
        }
    }

    @Test("two processes that block, allow, promote and remove at once leave nothing current that is blocked or gone")
    func many() async throws {
        let memory = MemoryObjectStore(exclusive: false)
        let house = try await TestHouse(store: memory)
        let names = (0..<6).map { "v\($0)" }
        for name in names { try await house.importRootfs(name) }
        try await house.promote("v0")
        let houses = [try await TestHouse(store: memory), try await TestHouse(store: memory)]
        await withTaskGroup(of: Void.self) { group in
            for (index, house) in houses.enumerated() {
                group.addTask {
                    for round in 0..<60 {
                        let name = names[(round * (index + 2)) % names.count]
                        switch (round + index) % 4 {
                        case 0: _ = try? await set(house, name, .blocked)
                        case 1: _ = try? await house.promote(name)
                        case 2: _ = try? await set(house, name, .available)
                        default: _ = try? await house.rootfs.rollBack(stack, by: "t", reason: "")
                        }
                    }
                }
            }
        }
        let after = try await TestHouse(store: memory).rootfs
        #expect(after.availability(stack, try after.current(stack)) == .available)
    }

    @Test("a version can be blocked before anything was promoted; then there is no history yet")
    func unpromoted() async throws {
        let house = try await house("1", "2", promoting: [])
        try await set(house, "1", .blocked)
        for house in [house, try await TestHouse(store: memory)] {
            #expect(house.rootfs.history(stack) == nil)
            #expect(house.rootfs.availability(stack, try version("1")) == .blocked)
            #expect(throws: ImageError.self) { try house.rootfs.current(stack) }
            await #expect(throws: ImageError.self) { try await house.promote("1") }
        }
        try await house.promote("2")
        #expect(house.rootfs.history(stack)?.generation == 1)
    }

    @Test("members that this binary does not know stay, in the record, its promotions and its states")
    func unknownMembers() async throws {
        let house = try await house("1", "2", "3", promoting: ["1"])
        try await set(house, "3", .deprecated)
        var members = try #require(try await stored().object)
        members["later"] = ["a": [.number("1.50")]]
        for (list, name) in [("promotions", "wave"), ("states", "until")] {
            switch members[list] {
            case .array(let elements):
                members[list] = .array(
                    elements.map { .object(($0.object ?? [:]).merging([name: 7]) { $1 }) })
            case .object(let elements):
                members[list] = .object(
                    elements.mapValues { .object(($0.object ?? [:]).merging([name: 7]) { $1 }) })
            default: Issue.record("there is no \(list)")
            }
        }
        try await memory.put(key, JSONValue.object(members).canonicalBytes, if: .always)
        let again = try await TestHouse(store: memory)
        try await again.promote("2")
        try await set(again, "1", .blocked)
        let now = try await stored()
        #expect(now["later"] == ["a": [.number("1.50")]])
        #expect(now["promotions"]?.array?.last?["wave"] == 7 && now["states"]?["3"]?["until"] == 7)
        #expect(now["version"] == "2" && now["format"] == 2)
    }

    @Test(
        "where it is damaged all versions count as blocked, a promotion begins anew, and the others wait for a word",
        arguments: [true, false])
    func damaged(isSetAside: Bool) async throws {
        let before = try await house("1", "2", "3", promoting: ["1", "2"])
        let hash = try await before.upload("app", .droplet("app")).hash
        let pinned = try await before.image("app", "\(hash)-3")
        try await set(before, "3", .blocked)
        let bytes = Array(try await memory.get(key).bytes.dropLast())
        // As a verification leaves it that repairs.
        if isSetAside { try await memory.delete(key, ifVersion: nil) }
        try await memory.put(isSetAside ? try ObjectKey("quarantine/\(key)") : key, bytes, if: .always)

        var house = try await TestHouse(store: memory)
        for name in ["1", "2", "3"] { #expect(house.rootfs.availability(stack, try version(name)) == .blocked) }
        #expect(house.rootfs.history(stack) == nil)
        #expect(try await house.image("app", "\(hash)-3") == pinned, "explicit versions are served")
        await #expect(throws: ImageError.self) { try await rollBack(house) }
        if !isSetAside {
            await #expect(throws: ImageError.self, "it is not known what is current") {
                try await house.images.remove(stack, try version("1"))
            }
        }
        try await house.promote("1")
        for _ in 1...2 {
            #expect(try house.rootfs.current(stack).text == "1")
            #expect(house.rootfs.availability(stack, try version("1")) == .available)
            for name in ["2", "3"] {
                let state = house.rootfs.versionState(stack, try version(name))
                #expect(state?.availability == .blocked && state?.reason.contains("can't be read") == true)
                await #expect(throws: ImageError.self) { try await house.promote(name) }
            }
            house = try await TestHouse(store: memory)
        }
        try await set(house, "2", .available)
        try await house.promote("2")
        #expect(house.rootfs.history(stack)?.promotions.map(\.version.text) == ["2", "1"])
        #expect(house.rootfs.availability(stack, try version("3")) == .blocked)
    }

    private func rollBack(_ house: TestHouse) async throws {
        try await house.rootfs.rollBack(stack, by: "tester", reason: "")
    }

    @Test("a word about one version, where it is damaged, frees that one alone")
    func allowing() async throws {
        _ = try await house("1", "2", promoting: ["1"])
        try await memory.put(key, [0], if: .always)
        let house = try await TestHouse(store: memory)
        try await set(house, "1", .available)
        for rootfs in [house.rootfs, try await TestHouse(store: memory).rootfs] {
            #expect(rootfs.availability(stack, try version("1")) == .available)
            #expect(rootfs.availability(stack, try version("2")) == .blocked)
        }
    }

    @Test("what breaks while the process that owns the store runs, it writes again as it knows it")
    func mended() async throws {
        let house = try await house("1", "2", "3", promoting: ["1", "2"])
        try await set(house, "3", .blocked)
        try await memory.put(key, [0], if: .always)
        try await house.promote("1")
        for rootfs in [house.rootfs, try await TestHouse(store: memory).rootfs] {
            #expect(rootfs.history(stack)?.promotions.map(\.version.text) == ["1", "2", "1"])
            #expect(rootfs.availability(stack, try version("2")) == .available)
            #expect(rootfs.versionState(stack, try version("3"))?.reason == "because")
        }
    }

    @Test("one of a newer format is read by nobody here and never written over; what is served stays served")
    func newer() async throws {
        let before = try await house("1", "2", promoting: ["1"])
        let hash = try await before.upload("app", .droplet("app")).hash
        let pinned = try await before.image("app", "\(hash)-1")
        var members = try #require(try await stored().object)
        members["format"] = 3
        let bytes = JSONValue.object(members).canonicalBytes
        try await memory.put(key, bytes, if: .always)
        let house = try await TestHouse(store: memory)
        try await house.rootfs.migrate()
        #expect(try await house.image("app", "\(hash)-1") == pinned)
        #expect(house.rootfs.availability(stack, try version("2")) == .blocked)
        await #expect(throws: ImageError.self) { try await house.promote("2") }
        await #expect(throws: ImageError.self) { try await rollBack(house) }
        await #expect(throws: ImageError.self) { try await set(house, "2", .available) }
        await #expect(throws: ImageError.self) { try await house.images.remove(stack, try version("2")) }
        #expect(try await memory.get(key).bytes == bytes)
        #expect(try house.rootfs.versions(stack).count == 2)
    }
}
