import Blobs
import Droplets
import Images
import ImagesTesting
import Layers
import OCI
import ObjectStore
import Rootfs
import TestSupport
import Testing

@Suite("Quotas of droplets", .timeLimit(.minutes(5)))
struct DropletQuotaTests {
    private static func book(_ bytes: Int64) -> QuotaLedger {
        let book = QuotaLedger()
        book.replace([Quota(repositories: "cloudfoundry/**", bytes: bytes) { $0.hasPrefix("cloudfoundry/") }])
        return book
    }

    private static func count(_ house: TestHouse, _ book: QuotaLedger) async throws {
        _ = try await book.count(now: { 0 }) { (count) throws(ImageError) in
            try await house.droplets.countUsage(count)
        }
    }

    private static func used(_ book: QuotaLedger) -> Int64? { book.usage.quotas.first?.total.used }
    private static func held(_ book: QuotaLedger) -> Int64? { book.usage.quotas.first?.total.reserved }

    /// What a droplet costs: its bytes and its layers'.
    private static func cost(_ record: DropletRecord) -> Int64 {
        record.content.layers.reduce(record.size) { $0 + $1.size }
    }

    private static func expectDenial(_ body: () async throws -> Void) async throws {
        do {
            try await body()
            Issue.record("nothing stood in the way")
        } catch ImageError.blob(.overQuota(let denial)) {
            #expect(denial.repositories == "cloudfoundry/**")
        }
    }

    @Test("a droplet costs its bytes and its layers', each app for itself; the last byte fits, and no more")
    func cost() async throws {
        let free = try await TestHouse()
        let cost = Self.cost(try await free.upload("a", .droplet("x")))
        for (limit, fits) in [(2 * cost, true), (2 * cost - 1, false)] {
            let book = Self.book(limit)
            let house = try await TestHouse(quotas: book)
            try await Self.count(house, book)
            let tar = TestTar.droplet("x")
            let checksum = Checksum.digest(Digest.of(tar.bytes))
            try await house.upload("a", tar)
            try await house.upload("a", tar, checksum: checksum)
            #expect(Self.used(book) == cost, "the same once more costs nothing")
            // Known content costs its next app the same: by its checksum and without.
            if fits {
                try await house.upload("b", tar, checksum: checksum)
            } else {
                try await Self.expectDenial { try await house.upload("b", tar, checksum: checksum) }
                try await Self.expectDenial { try await house.upload("b", tar) }
                #expect(try await house.droplets.droplets(of: DropletGUID("b")).isEmpty)
            }
            #expect(Self.held(book) == 0)
            let before = Self.used(book)
            try await Self.count(house, book)
            #expect(Self.used(book) == before, "a count finds the same")
        }
    }

    @Test(
        "an upload that comes to nothing gives its bytes back, and leaves none", arguments: [LayerMode.single, .split])
    func givenBack(mode: LayerMode) async throws {
        let book = Self.book(3800)
        let house = try await TestHouse(quotas: book)
        try await Self.count(house, book)
        let before = try await house.store.list(prefix: "data/", startAfter: nil, limit: 1000).count
        try await Self.expectDenial { try await house.upload("a", .droplet("x"), mode: mode) }
        await #expect(throws: ImageError.self) {
            try await house.droplets.upload(
                DropletUpload(
                    guid: try DropletGUID("app"), stack: try StackName("s"), architecture: .amd64, checksum: nil,
                    layout: DropletLayout(mode: mode), limits: ConversionLimits(), by: "tester"),
                from: Chunks(TestTar.droplet("x").bytes, breaksAt: 1500), logger: TestHouse.logger)
        }
        #expect(Self.held(book) == 0)
        #expect(Self.used(book) == 0)
        #expect(try await house.store.list(prefix: "data/", startAfter: nil, limit: 1000).count == before)
    }

    @Test("a removed droplet makes room at the next count")
    func removed() async throws {
        let book = Self.book(1 << 20)
        let house = try await TestHouse(quotas: book)
        try await Self.count(house, book)
        let record = try await house.upload("a", .droplet("x"))
        let counted = ContinuousClock.now
        try await Self.count(house, book)
        #expect(!book.isCountDue(now: counted + .seconds(1800)))
        try await house.droplets.remove(record.guid, .sha256(record.hash))
        #expect(book.isCountDue(now: counted + .seconds(1800)))
        try await Self.count(house, book)
        #expect(Self.used(book) == 0)
    }
}
