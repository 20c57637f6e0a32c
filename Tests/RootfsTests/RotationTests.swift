import Archive
import Blobs
import Droplets
import Images
import ImagesTesting
import JSON
import Layers
import ObjectStore
import Rootfs
import TestSupport
import Testing

@Suite("Promotion, rollback and states")
struct RotationTests {
    private static let stack = TestHouse.stack

    /// A house with versions that are imported and none promoted.
    private static func house(_ versions: String...) async throws -> (TestHouse, StackName) {
        let house = try await TestHouse()
        for version in versions { try await house.importRootfs(version) }
        return (house, try StackName(stack))
    }

    private static func rollBack(_ house: TestHouse, _ reason: String = "") async throws -> String {
        try await house.rootfs.rollBack(try StackName(stack), by: "tester", reason: reason).current.text
    }

    private static func set(
        _ house: TestHouse, _ version: String, _ availability: VersionState.Availability
    ) async throws {
        _ = try await house.rootfs.setState(
            try StackName(stack), try VersionName(version), availability, by: "tester", reason: "because")
    }

    @Test("going back again goes further back, never forth to what was just left, and ends where it began")
    func further() async throws {
        let (house, stack) = try await Self.house("a", "b", "c")
        await #expect(throws: ImageError.self) { try await Self.rollBack(house) }
        for version in ["a", "b", "c"] { try await house.promote(version) }
        #expect(house.rootfs.rollbackTarget(stack)?.text == "b")
        #expect(try await Self.rollBack(house, "it broke") == "b")
        #expect(try await Self.rollBack(house) == "a")
        #expect(house.rootfs.rollbackTarget(stack) == nil)
        let error = await #expect(throws: ImageError.self) { try await Self.rollBack(house) }
        #expect(error?.description.contains("nothing before a") == true)
        let history = try #require(house.rootfs.history(stack))
        #expect(history.promotions.map(\.version.text) == ["a", "b", "c", "b", "a"])
        #expect(history.promotions.map(\.kind) == [.rollback, .rollback, .promote, .promote, .promote])
        #expect(history.promotions[1].reason == "it broke" && history.promotions[1].by == "tester")
        #expect(history.generation == 5)

        // What is promoted after that is the next to be gone back from.
        try await house.promote("c")
        #expect(try await Self.rollBack(house) == "a")
        try await house.promote("b")
        try await house.promote("a")
        #expect(try await Self.rollBack(house) == "b")
        #expect(try await Self.rollBack(house) == "a")
        let again = try await TestHouse(store: house.store)
        #expect(again.rootfs.history(stack) == house.rootfs.history(stack), "after a restart too")
    }

    @Test("it passes over what is gone or blocked")
    func passes() async throws {
        let (house, stack) = try await Self.house("a", "b", "c", "d")
        for version in ["a", "b", "c", "d"] { try await house.promote(version) }
        try await Self.set(house, "c", .blocked)
        try await Self.set(house, "b", .deprecated)
        #expect(house.rootfs.rollbackTarget(stack)?.text == "b", "deprecated is no reason")
        try await house.images.remove(stack, try VersionName("b"))
        #expect(house.rootfs.rollbackTarget(stack)?.text == "a")
        #expect(try await Self.rollBack(house) == "a")
    }

    @Test("a blocked version is not promoted, gets no delta, and what there is of it is served on")
    func blocked() async throws {
        let (house, stack) = try await Self.house("1", "2")
        let hash = try await house.upload("app", .droplet("app")).hash
        try await house.promote("1")
        let pinned = try await house.image("app", "\(hash)-2")
        try await Self.set(house, "2", .blocked)
        for house in [house, try await TestHouse(store: house.store)] {
            let error = await #expect(throws: ImageError.self) { try await house.promote("2") }
            #expect(error?.description.contains("because") == true, "it says why")
            await #expect(throws: ImageError.self) {
                try await house.rootfs.computeDelta(
                    DeltaRequest(
                        stack: stack, from: try VersionName("1"), to: try VersionName("2"), architecture: .amd64,
                        times: .compared, compression: .gzip, by: "tester"))
            }
            #expect(try await house.image("app", "\(hash)-2") == pinned)
            #expect(try await house.image(try DropletGUID("app"), pinned.manifestDigest) == pinned.served)
            #expect(house.rootfs.versionState(stack, try VersionName("2"))?.by == "tester")
            #expect(try house.rootfs.current(stack).text == "1")
        }
        try await Self.set(house, "2", .available)
        try await house.promote("2")
        #expect(try house.rootfs.current(stack).text == "2")
    }

    @Test("what is current can't be blocked, only deprecated; a version that is removed takes its state along")
    func states() async throws {
        let (house, stack) = try await Self.house("1", "2")
        try await house.promote("1")
        let error = await #expect(throws: ImageError.self) { try await Self.set(house, "1", .blocked) }
        #expect(error?.description.contains("promote another") == true)
        try await Self.set(house, "1", .deprecated)
        #expect(house.rootfs.availability(stack, try VersionName("1")) == .deprecated)
        await #expect(throws: ImageError.self) { try await Self.set(house, "3", .deprecated) }
        try await Self.set(house, "2", .blocked)
        try await house.images.remove(stack, try VersionName("2"))
        #expect(try await house.visibleKeys().filter { $0.contains("/2/") }.isEmpty)
        try await house.importRootfs("2")
        #expect(house.rootfs.versionState(stack, try VersionName("2")) == nil)
        try await house.promote("2")
    }

    @Test("block and promote at once: the version is current or blocked, never both")
    func exclusive() async throws {
        let (house, stack) = try await Self.house("1", "2")
        let version = try VersionName("2")
        for _ in 0..<200 {
            try await house.promote("1")
            try await Self.set(house, "2", .available)
            let done = await withTaskGroup(of: Bool.self) { group in
                group.addTask { (try? await house.promote("2")) != nil }
                group.addTask { (try? await Self.set(house, "2", .blocked)) != nil }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(done == 1, "one of them is refused")
            let isCurrent = try house.rootfs.current(stack) == version
            #expect(isCurrent != (house.rootfs.availability(stack, version) == .blocked))
        }
    }

    @Test("of many who promote and go back at once, the history has every one that was answered", arguments: [1, 2])
    func concurrent(replicas: Int) async throws {
        let versions = (0..<30).map { "v\($0)" }
        let (house, stack) = try await Self.house("base")
        for version in versions { try await house.importRootfs(version) }
        try await house.promote("base")
        var houses = [house]
        for _ in 1..<replicas { houses.append(try await TestHouse(store: house.store)) }
        let answered = try await withThrowingTaskGroup(of: Int64?.self) { group in
            for (index, version) in versions.enumerated() {
                let rootfs = houses[index % houses.count].rootfs
                group.addTask {
                    try await rootfs.promote(
                        stack, try VersionName(version), by: version, reason: "promote"
                    ).generation
                }
                group.addTask {
                    // There may be nothing to go back to at that moment.
                    try? await rootfs.rollBack(stack, by: version, reason: "rollback").generation
                }
            }
            return try await group.reduce(into: [Int64]()) { list, generation in
                if let generation { list.append(generation) }
            }
        }
        let history = try #require(try await TestHouse(store: house.store).rootfs.history(stack))
        #expect(Set(answered).count == answered.count && answered.max() == history.generation)
        #expect(history.promotions.count == answered.count + 1, "the first, and each that was answered")
        #expect(Set(history.promotions.filter { $0.kind == .promote }.map(\.by)) == Set(versions + ["tester"]))
    }

    @Test("who expects another version to be current is refused, and told who promoted what")
    func expecting() async throws {
        let (house, stack) = try await Self.house("1", "2", "3")
        let (one, two, three) = (try VersionName("1"), try VersionName("2"), try VersionName("3"))
        await #expect(throws: ImageError.self, "nothing is promoted") {
            try await house.rootfs.promote(stack, one, by: "a", reason: "", expecting: .version(two))
        }
        let first = try await house.rootfs.promote(stack, one, by: "a", reason: "")
        try await house.rootfs.promote(stack, two, by: "b", reason: "urgent", expecting: .version(one))
        for expectation in [PromotionExpectation.version(one), .generation(first.generation)] {
            for rollsBack in [false, true] {
                let error = await #expect(throws: ImageError.self) {
                    if rollsBack {
                        try await house.rootfs.rollBack(stack, by: "a", reason: "", expecting: expectation)
                    } else {
                        try await house.rootfs.promote(stack, three, by: "a", reason: "", expecting: expectation)
                    }
                }
                let text = error?.description ?? ""
                #expect(text.contains("is on 2") && text.contains("b promoted") && text.contains("urgent"), "\(text)")
            }
        }
        #expect(try house.rootfs.current(stack) == two)
        try await house.rootfs.promote(stack, three, by: "a", reason: "", expecting: .generation(2))
    }

    @Test("a history that an earlier Cistern wrote goes on")
    func compatible() async throws {
        let (house, stack) = try await Self.house("1", "2")
        let key = try ObjectKey("rootfs/\(Self.stack)/current")
        let old = #"{"generation":1,"history":[{"at":1,"by":"x","reason":"","version":"1"}],"version":"1"}"#
        try await house.store.put(key, Array(old.utf8), if: .absent)
        let again = try await TestHouse(store: house.store)
        #expect(again.rootfs.history(stack)?.promotions.map(\.kind) == [.promote])
        try await again.promote("2")
        let stored = String(decoding: try await house.store.get(key).bytes, as: UTF8.self)
        #expect(!stored.contains("kind") && stored.contains(#"{"at":1,"by":"x","reason":"","version":"1"}"#))
        _ = try await again.rootfs.rollBack(stack, by: "x", reason: "")
        #expect(String(decoding: try await house.store.get(key).bytes, as: UTF8.self).contains(#""kind":"rollback""#))
    }
}
