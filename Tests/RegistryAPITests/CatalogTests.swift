import Blobs
import Droplets
import Identity
import Images
import ImagesTesting
import JSON
import OCI
import ObjectStore
import Registry
import Rootfs
import Synchronization
import TestSupport
import Testing

@testable import RegistryAPI

@Suite("The catalog")
struct CatalogTests {
    /// Repositories that were pushed to, apps and a stack, over a memory store that counts its calls.
    private struct Town {
        let house: TestHouse
        let registry: Registry
        let calls = Tally()

        init() async throws {
            let memory = MemoryObjectStore()
            let store = InstrumentedObjectStore(memory) { [calls] (_, _) throws(ObjectStoreError) in calls.add() }
            house = try await TestHouse(store: memory, through: store)
            registry = Registry(store: store, blobs: house.blobs, now: { 1 })
        }

        func push(_ names: [String]) async throws {
            let manifest = Index(mediaType: .ociIndex, manifests: []).json.canonicalBytes
            for name in names {
                _ = try await registry.putManifest(
                    try RepositoryName(parsing: name), .tag(try Tag(parsing: "a")), contentType: nil, manifest)
            }
        }

        /// A repository with nothing but its marker, as one without a manifest leaves it.
        func mark(_ name: String) async throws {
            try await registry.mark(RepositoryKeys(name: try RepositoryName(parsing: name)))
        }

        func page(
            _ user: Principal = Principal(name: "all", roles: [.pull]), after: String? = nil, limit: Int = 1000
        ) async throws -> Page<String> {
            try await CatalogWalk(images: house.images, registry: registry, user: user).page(after: after, limit: limit)
        }

        /// All pages together.
        func all(_ user: Principal = Principal(name: "all", roles: [.pull]), limit: Int) async throws -> [String] {
            var found: [String] = []
            var after: String?
            repeat {
                let page = try await page(user, after: after, limit: limit)
                #expect(page.elements.count <= limit)
                found += page.elements
                after = page.next
            } while after != nil
            return found
        }
    }

    private static func user(_ patterns: String...) throws -> Principal {
        Principal(
            name: "some", roles: [],
            repositories: Dictionary(uniqueKeysWithValues: try patterns.map { (try RepositoryPattern($0), [.pull]) }))
    }

    /// In the catalog's order.
    private static let everything = [
        "a", "a/b", "a-b", "cistern/teststack", "cloudfoundry/app", "cloudfoundry/app-2", "cloudfoundry/app.3",
        "team/x", "team-2/x", "teams",
    ]

    private static func town() async throws -> Town {
        let town = try await Town()
        try await town.house.importRootfs("1")
        for app in ["app", "app-2", "app.3"] { try await town.house.upload(app, .droplet("a droplet")) }
        try await town.push(["teams", "team/x", "a-b", "a", "a/b", "team-2/x", "cloudfoundry/app"])
        for name in ["a/empty", "cloudfoundry/gone", "zz"] { try await town.mark(name) }
        return town
    }

    @Test(
        "what can be pulled, each once and in one order, in pages of any size", arguments: [1, 2, 3, 9, 10, 11, 1000])
    func pages(_ size: Int) async throws {
        let town = try await Self.town()
        #expect(try await town.all(limit: size) == Self.everything)
        #expect(try await town.page(limit: size).elements == Array(Self.everything.prefix(size)))
        #expect(try await (town.page(limit: size).next == nil) == (size >= Self.everything.count))
        #expect(try await town.page(limit: 0).elements.isEmpty)
    }

    @Test("a page begins behind a text, whether it is a repository's name or not")
    func last() async throws {
        let town = try await Self.town()
        for (index, name) in Self.everything.enumerated() {
            #expect(try await town.page(after: name).elements == Array(Self.everything.dropFirst(index + 1)), "\(name)")
        }
        for (last, first) in [("cloudfoundry", 4), ("cloudfoundry/", 4), ("cloudfoundry/zz", 7), ("b", 3), ("~", 10)] {
            #expect(try await town.page(after: last).elements == Array(Self.everything.dropFirst(first)), "\(last)")
        }
        for last in ["", "!", "\0", "A"] { #expect(try await town.page(after: last).elements == Self.everything) }
    }

    @Test("everybody sees what they may pull, and nothing else")
    func rights() async throws {
        let town = try await Self.town()
        for (user, names) in [
            (try Self.user("**"), Self.everything), (try Self.user("team/**"), ["team/x"]),
            (try Self.user("team*/x", "a/*", "a"), ["a", "a/b", "team/x", "team-2/x"]),
            (try Self.user("a-b", "a", "cloudfoundry/app.3"), ["a", "a-b", "cloudfoundry/app.3"]),
            (try Self.user("cloudfoundry/app*", "cloudfoundry/app-2"), Array(Self.everything[4...6])),
            (try Self.user("*/teststack"), ["cistern/teststack"]), (try Self.user("cloudfoundry/gone", "zz"), []),
            (Principal(name: "none", roles: []), []),
        ] as [(Principal, [String])] {
            for size in [1, 2, 1000] { #expect(try await town.all(user, limit: size) == names, "\(names)") }
        }
    }

    @Test("an app whose droplets fit no rootfs can't be pulled")
    func base() async throws {
        let town = try await Town()
        try await town.house.upload("app", .droplet("a droplet"))
        #expect(try await town.page().elements == [])
        try await town.house.importRootfs("1", architecture: .arm64)
        #expect(try await town.page().elements == ["cistern/teststack"])
        try await town.house.upload("app", .droplet("another"), architecture: .arm64)
        #expect(try await town.page().elements == ["cistern/teststack", "cloudfoundry/app"])
    }

    @Test("a page reads a few records for each name that it shows, and lists no more for more apps")
    func reads() async throws {
        let town = try await Town()
        try await town.house.importRootfs("1")
        let record = try await town.house.upload("app", .droplet("a droplet"))
        let key = try ObjectKey("bits/droplets/records/app/\(record.hash)")
        let bytes = try await town.house.store.get(key).bytes
        for number in 0..<3000 {
            let copy = try ObjectKey("bits/droplets/records/guid-\(10_000 + number)/\(record.hash)")
            try await town.house.store.put(copy, bytes, if: .absent)
        }
        for (user, size, found, most) in [
            (Principal(name: "all", roles: [.pull]), 10, 10, 30),
            (Principal(name: "all", roles: [.pull]), 1000, 1000, 2100),
            (try Self.user("cloudfoundry/guid-12345"), 1000, 1, 10),
            (try Self.user("cloudfoundry/guid-1234*"), 1000, 10, 30),
            (try Self.user("team/**"), 1000, 0, 5), (try Self.user("*/guid-12345"), 1000, 1, 10),
        ] {
            let before = town.calls.count
            #expect(try await town.page(user, limit: size).elements.count == found)
            #expect(town.calls.count - before <= most, "\(town.calls.count - before) calls for \(found) names")
        }
    }

    @Test("a page is short rather than slow where there is much that can't be pulled")
    func misses() async throws {
        let town = try await Town()
        for number in 0..<2500 { try await town.mark("empty/\(10_000 + number)") }
        try await town.push(["z"])
        let before = town.calls.count
        let page = try await town.page()
        #expect(page.elements.isEmpty && page.next == "empty/11000")
        #expect(town.calls.count - before < 1100)
        #expect(try await town.all(limit: 1000) == ["z"])
    }
}

/// Counts.
private final class Tally: Sendable {
    private let value = Mutex(0)
    var count: Int { value.withLock { $0 } }
    func add() { value.withLock { $0 += 1 } }
}
