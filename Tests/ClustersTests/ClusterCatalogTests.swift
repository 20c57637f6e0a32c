import Clusters
import ObjectStore
import Rootfs
import Synchronization
import Testing

@Suite("Clusters")
struct ClusterCatalogTests {
    private struct World {
        let time = Clock()
        let store: any ObjectStore
        let clusters: ClusterCatalog
        let east: ClusterName

        final class Clock: Sendable {
            private let value = Mutex<Int64>(1_800_000_000_000_000_000)
            var now: Int64 { value.withLock { $0 } }
            func pass(_ nanoseconds: Int64) { value.withLock { $0 += nanoseconds } }
        }

        init() throws {
            let time = time
            let store = MemoryObjectStore()
            self.store = store
            let now: @Sendable () -> Int64 = { time.now }
            clusters = ClusterCatalog(store: store, pins: RunningImages(store: store, now: now), now: now)
            east = try ClusterName("east")
        }

        func enrol() async throws -> String {
            let (secret, _) = try await clusters.add(east, labels: nil, by: "operator")
            let credential = ClusterCatalog.makeSecret()
            try #require(try await clusters.exchange(secret, for: credential, of: east) != nil)
            return credential
        }
    }

    @Test("an enrolment secret is good once, for one cluster, for a day")
    func enrolment() async throws {
        let world = try World()
        let clusters = world.clusters
        let (secret, expires) = try await clusters.add(world.east, labels: ["zone": "1"], by: "operator")
        #expect(expires == world.time.now + ClusterCatalog.enrolmentLifetime)
        #expect(try await clusters.use(of: secret, for: world.east) == .enrolment)
        #expect(try await clusters.use(of: secret, for: try ClusterName("west")) == nil)
        #expect(try await clusters.use(of: ClusterCatalog.makeSecret(), for: world.east) == nil)
        let credential = ClusterCatalog.makeSecret()
        #expect(try await clusters.exchange(secret, for: credential, of: world.east) != nil)
        #expect(try await clusters.use(of: secret, for: world.east) == nil, "it is spent")
        #expect(try await clusters.exchange(secret, for: ClusterCatalog.makeSecret(), of: world.east) == nil)
        #expect(try await clusters.use(of: credential, for: world.east) == .agent)

        let (late, _) = try await clusters.add(world.east, labels: nil, by: "operator")
        #expect(try await clusters.find(world.east)?.identity.labels == ["zone": "1"])
        world.time.pass(ClusterCatalog.enrolmentLifetime)
        #expect(try await clusters.use(of: late, for: world.east) == nil)
        #expect(try await clusters.exchange(late, for: ClusterCatalog.makeSecret(), of: world.east) == nil)
        #expect(try await clusters.use(of: credential, for: world.east) == .agent)
    }

    @Test("an exchange whose answer was lost can be repeated, and found out about")
    func lostAnswer() async throws {
        let world = try World()
        let old = try await world.enrol()
        let new = ClusterCatalog.makeSecret()
        let first = try await world.clusters.exchange(old, for: new, of: world.east)
        world.time.pass(1)
        #expect(try await world.clusters.exchange(old, for: new, of: world.east) == first)
        #expect(try await world.clusters.use(of: new, for: world.east) == .agent)
    }

    @Test("a credential is renewed by itself, twice in a row too, and the one before the last is no good")
    func renewal() async throws {
        let world = try World()
        var credentials = [try await world.enrol()]
        for _ in 0..<3 {
            world.time.pass(ClusterCatalog.credentialLifetime / 2)
            let next = ClusterCatalog.makeSecret()
            #expect(try await world.clusters.exchange(try #require(credentials.last), for: next, of: world.east) != nil)
            credentials.append(next)
        }
        #expect(try await world.clusters.use(of: credentials[3], for: world.east) == .agent)
        #expect(try await world.clusters.use(of: credentials[2], for: world.east) == .agent)
        #expect(try await world.clusters.use(of: credentials[1], for: world.east) == nil)
        world.time.pass(ClusterCatalog.credentialLifetime)
        #expect(try await world.clusters.use(of: credentials[3], for: world.east) == nil)
    }

    @Test("whoever enrols takes the place of the agent that was there")
    func enrolledAgain() async throws {
        let world = try World()
        let old = try await world.enrol()
        let (secret, _) = try await world.clusters.add(world.east, labels: nil, by: "operator")
        #expect(try await world.clusters.use(of: old, for: world.east) == .agent, "until then")
        _ = try await world.clusters.exchange(secret, for: ClusterCatalog.makeSecret(), of: world.east)
        #expect(try await world.clusters.use(of: old, for: world.east) == nil)
    }

    @Test("a forgotten cluster's secrets end, and added again it is another one")
    func forgotten() async throws {
        let world = try World()
        let credential = try await world.enrol()
        try await world.clusters.keep(world.east, agent: "1", kubernetes: "1.36", problems: ["x"], unpinned: 3)
        #expect(try await world.clusters.find(world.east)?.state?.unpinned == 3)
        #expect(try await world.clusters.forget(world.east))
        #expect(try await !world.clusters.forget(world.east))
        #expect(try await world.clusters.use(of: credential, for: world.east) == nil)
        _ = try await world.clusters.add(world.east, labels: nil, by: "operator")
        let known = try #require(try await world.clusters.all().first)
        #expect(known.state == nil && known.identity.enrolled == nil)
        #expect(try await world.clusters.use(of: credential, for: world.east) == nil)
    }

    @Test("no secret can be read from the store")
    func secrets() async throws {
        let world = try World()
        let credential = try await world.enrol()
        let (secret, _) = try await world.clusters.add(world.east, labels: nil, by: "operator")
        for info in try await world.store.list(prefix: "", startAfter: nil, limit: 100) {
            let text = String(decoding: try await world.store.get(info.key).bytes, as: UTF8.self)
            #expect(!text.contains(credential) && !text.contains(secret))
        }
    }

    @Test(
        "labels and credentials have bounds",
        arguments: [
            ["": "x"], ["a b": "x"], ["x": "a/b"], ["x": String(repeating: "v", count: 64)],
            Dictionary(uniqueKeysWithValues: (0...ClusterCatalog.maximumLabels).map { ("l\($0)", "") }),
        ])
    func bounds(labels: [String: String]) async throws {
        let world = try World()
        await #expect(throws: ImageError.self) {
            try await world.clusters.add(world.east, labels: labels, by: "operator")
        }
        #expect(try await world.clusters.all().isEmpty)
        let (secret, _) = try await world.clusters.add(world.east, labels: ["x": ""], by: "operator")
        for credential in ["short", secret, String(repeating: "a", count: 129), String(repeating: "é", count: 40)] {
            await #expect(throws: ImageError.self) {
                try await world.clusters.exchange(secret, for: credential, of: world.east)
            }
        }
    }

    @Test("reports with tags that are none are refused")
    func tags() async throws {
        let world = try World()
        let pins = RunningImages(store: world.store, now: { 1 })
        for tag in ["app", "app:a:b", ":x", String(repeating: "a", count: 500) + ":x"] {
            await #expect(throws: ImageError.self) {
                try await pins.report(world.east, shard: 0, of: 1, [], tags: [tag])
            }
        }
        try await pins.report(world.east, shard: 0, of: 1, [], tags: ["app:x"])
        #expect(try await pins.clusters().first?.tags == ["app:x"])
    }
}
