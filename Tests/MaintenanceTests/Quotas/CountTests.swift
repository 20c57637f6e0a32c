import Blobs
import Maintenance
import OCI
import ObjectStore
import Synchronization
import Testing

@testable import Registry

@Suite("Counting what quotas limit", .timeLimit(.minutes(5)))
struct CountTests {
    @Test("after a restart a push waits for the first count, which finds what was there")
    func restart() async throws {
        let before = try await QuotaWorld.counted(["team/": 1000])
        let layer = try await before.push(QuotaWorld.noise(300), to: "team/a")
        try await before.put(before.manifest([layer], size: 400), to: "team/a", "1")
        #expect(try before.used("team/") == 700)

        let after = try QuotaWorld(["team/": 1000], after: before)
        #expect(try after.used("team/") == nil)
        #expect(after.quotas.isCountDue(now: after.now))
        async let small = after.push(QuotaWorld.noise(300), to: "team/b")
        try await after.counter.count()
        _ = try await small
        #expect(try after.used("team/") == 1000)
        try await expectDenial { try await after.push([1], to: "team/b") }
    }

    @Test("while usage can't be counted, what a quota covers is refused and everything else goes on")
    func failing() async throws {
        let world = try QuotaWorld(["team/": 1000])
        struct Broken: Error {}
        await #expect(throws: Broken.self) {
            _ = try await world.quotas.count(now: { 0 }) { _ in throw Broken() }
        }
        let error = await #expect(throws: RegistryError.self) { try await world.push([1], to: "team/a") }
        guard case .blob(.uncounted)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        try await world.push([1], to: "other/a")
        #expect(world.quotas.isCountDue(now: .now + .seconds(61)), "it is tried again")
        try await world.counter.count()
        try await world.push([1], to: "team/a")
        await #expect(throws: Broken.self) {
            _ = try await world.quotas.count(now: { 0 }) { _ in throw Broken() }
        }
        try await world.push([2], to: "team/a")
        #expect(try world.used("team/") == 2, "what was known before is still used")
    }

    @Test("what went astray is right after the next count")
    func drift() async throws {
        let world = try await QuotaWorld.counted(["team/": 1000])
        try await world.push(QuotaWorld.noise(900), to: "team/a")
        // Behind everybody's back.
        let keys = try await world.store.list(prefix: "repositories/team/a/_blobs/", startAfter: nil, limit: 10)
        for info in keys { try await world.store.delete(info.key, ifVersion: nil) }
        try await expectDenial { try await world.push(QuotaWorld.noise(900), to: "team/a") }
        try await world.counter.count()
        #expect(try world.used("team/") == 0)
        try await world.push(QuotaWorld.noise(900), to: "team/a")
    }

    @Test(
        "what is deleted makes room at the next count, which is due soon after; so does a layer that no manifest names")
    func deleting() async throws {
        let world = try await QuotaWorld.counted(["team/": 2000])
        let name = try RepositoryName(parsing: "team/a")
        let layer = try await world.push(QuotaWorld.noise(900), to: "team/a")
        let single = try await world.push(QuotaWorld.noise(100), to: "team/a")
        let manifest = try await world.put(world.manifest([layer], size: 500), to: "team/a", "1")
        try await world.counter.count()
        let counted = ContinuousClock.now
        #expect(try world.used("team/") == 1500)
        #expect(!world.quotas.isCountDue(now: counted + .seconds(3000)))
        #expect(world.quotas.isCountDue(now: counted + .seconds(3601)))

        try await world.registry.deleteBlob(name, single)
        #expect(!world.quotas.isCountDue(now: .now), "not for every single one")
        #expect(world.quotas.isCountDue(now: counted + .seconds(60)))
        try await world.counter.count()
        #expect(try world.used("team/") == 1400)

        world.pass(3601)
        try await world.counter.count()
        #expect(try world.used("team/") == 1400, "what a manifest names is paid for, however old it is")
        try await world.registry.deleteManifest(name, manifest)
        try await world.counter.count()
        #expect(try world.used("team/") == 0, "nothing names the layer, and no manifest is on its way")
    }

    @Test("pushes during a count are never missed by it, and counted once by the next one")
    func during() async throws {
        let world = try await QuotaWorld.counted(["team/": 1 << 40])
        let pushed = Sum()
        let over = Sum()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for pusher in 0..<4 {
                group.addTask {
                    for number in 0..<100 {
                        try await world.push(QuotaWorld.noise(1000), to: "team/\(number % 40)/\(pusher)")
                        pushed.add(1000)
                    }
                }
            }
            group.addTask {
                var counts = 0
                while over.value == 0 || counts == 0 {
                    let before = pushed.value
                    try await world.counter.count()
                    let used = try #require(try world.used("team/"))
                    #expect(used >= before, "nothing that was there is missed")
                    counts += 1
                }
            }
            for _ in 0..<4 { try await group.next() }
            over.add(1)
            try await group.waitForAll()
        }
        #expect(try #require(try world.used("team/")) >= 400_000)
        let told = Mutex<[Int]>([])
        try await world.counter.count { repositories in told.withLock { $0.append(repositories) } }
        #expect(told.withLock { $0 } == Array(1...160), "how far it is")
        #expect(try world.used("team/") == 400_000)
        let count = try #require(world.quotas.usage.count)
        #expect(count.logicalBytes == 400_000)
        #expect(count.repositories == 160)
        #expect(count.largest.count == 100, "and no more, however many there are")
    }

    @Test("one count runs at a time")
    func single() async throws {
        let world = try await QuotaWorld.counted(["team/": 1000])
        _ = await world.quotas.count(now: { 0 }) { _ in
            let isCounted = try? await world.counter.count()
            #expect(isCounted == false)
            #expect(world.quotas.usage.isCounting)
        }
    }
}
