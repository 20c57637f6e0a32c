import JSON
import OCI
import Registry
import Testing

@testable import RegistryAPI

@Suite("Pages of referrers")
struct ReferrerPageTests {
    private static func descriptors(_ range: Range<Int>, _ size: Int = 0) throws -> [Descriptor] {
        try range.map { number in
            let hex = String(number, radix: 16)
            let digest = try Digest(.sha256, hex: String(repeating: "0", count: 64 - hex.utf8.count) + hex)
            let annotations: ByName = size == 0 ? [:] : ["a": String(repeating: "x", count: size)]
            return Descriptor(mediaType: .ociManifest, digest: digest, size: 1, annotations: annotations)
        }
    }

    /// Goes through all pages as a client does.
    private static func all(pushed: [Descriptor], derived: [Descriptor], page size: Int) throws -> [Descriptor] {
        var found: [Descriptor] = []
        var last: String?
        func place(_ descriptor: Descriptor) -> String { "sha256-\(descriptor.digest.hex)" }
        for _ in 0..<10_000 {
            let rest = pushed.filter { descriptor in last.map { $0 < place(descriptor) } ?? true }
            let elements = Array(rest.prefix(size))
            let next = rest.count > size ? elements.last.map(place) : nil
            let page = RegistryAPI.merge(derived, into: Page(elements: elements, next: next), after: last)
            try #require(page.elements.count <= Registry.maximumPage)
            #expect(Index(mediaType: .ociIndex, manifests: page.elements).json.canonicalBytes.count <= 4 << 20)
            found += page.elements
            guard let next = page.next else { return found }
            #expect(last.map { $0 < next } ?? true, "each page goes on")
            last = next
        }
        Issue.record("the pages don't end")
        return found
    }

    @Test(
        "each is there once and in byte order, however the pages are cut",
        arguments: [1, 2, 3, 7, 1000], [[0], [5, 6], [19, 40], [0, 10, 39]])
    func pages(_ size: Int, _ places: [Int]) throws {
        let every = try Self.descriptors(0..<41)
        let derived = places.map { every[$0] }
        let pushed = every.filter { !derived.contains($0) }
        #expect(try Self.all(pushed: pushed, derived: derived, page: size) == every)
        #expect(try Self.all(pushed: every, derived: derived, page: size) == every, "some are pushed too")
        #expect(try Self.all(pushed: [], derived: derived, page: size) == derived)
    }

    @Test("a full page stays within a thousand and 4 MiB")
    func full() throws {
        let every = try Self.descriptors(0..<1005)
        #expect(
            try Self.all(pushed: Array(every.dropFirst(2)), derived: Array(every.prefix(2)), page: 1000) == every)
        let large = try Self.descriptors(0..<45, 100_000)
        let pushed = Array(large.dropFirst())
        #expect(try Self.all(pushed: pushed, derived: [large[0]], page: 41) == large)
    }
}
