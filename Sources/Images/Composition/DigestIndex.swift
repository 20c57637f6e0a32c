import Droplets
import OCI
import Rootfs
import Runtime
import Synchronization

/// Finds the recipe that a derived document's digest comes from: for every such document, in bounded memory, and at
/// little cost for unknown digests.
///
/// Each source has a table of digest prefixes. It is made when it is first needed, by deriving all of the source's
/// documents once, and extended when recipes are added. A hit is only a hint: the caller derives the document and
/// compares the whole digest, so a removed recipe or another digest with the same prefix does no harm. When memory is
/// short, tables that were not used lately are dropped, and made again when needed. They are made one at a time, so
/// that a client which guesses digests in many repositories occupies one processor only; known digests never wait for
/// that.
final class DigestIndex: Sendable {
    /// Derives the digests of all documents of an image's origin.
    typealias Digests = (ImageOrigin) async throws(ImageError) -> [Digest]

    /// What documents are derived from besides a recipe.
    struct Source: Hashable, Sendable {
        /// nil for base images, which have no droplet.
        let droplet: DropletContent?
        let base: RecipeStore.Base
        /// How often package lists had changed when the documents were made; 0 for documents that don't depend on
        /// package lists.
        var packageChanges = 0
    }

    private let recipes: RecipeStore
    private let tables: BoundedCache<Source, DigestTable>
    private let making = SingleFlight<Source, DigestTable>()
    private let limit = Limiter(1)
    private let derivations = Mutex(0)

    /// - Parameter maximumBytes: the approximate size of all tables together, in memory.
    init(_ recipes: RecipeStore, maximumBytes: Int) {
        self.recipes = recipes
        tables = BoundedCache(maximumCost: maximumBytes)
    }

    /// How many times the documents of a recipe were derived for tables.
    var derived: Int { derivations.withLock { $0 } }

    /// The origin that a digest's document is derived from; nil if there is none in `sources`.
    /// - Parameters:
    ///   - digests: derives the digests of an origin, to make a table.
    ///   - isOf: whether an origin really makes a document with the digest.
    func find(
        _ digest: Digest, in sources: [Source], deriving digests: Digests,
        where isOf: (ImageOrigin) async throws(ImageError) -> Bool
    ) async throws(ImageError) -> ImageOrigin? {
        guard digest.algorithm == .sha256 else { return nil }
        var missing: [Source] = []
        for source in sources {
            let table = tables.value(source)
            if table?.next ?? 0 < recipes.next(source.base) { missing.append(source) }
            if let origin = try await origin(of: digest, table, source, where: isOf) { return origin }
        }
        for source in missing {
            let table = try await table(of: source, deriving: digests)
            if let origin = try await origin(of: digest, table, source, where: isOf) { return origin }
        }
        return nil
    }

    private func origin(
        of digest: Digest, _ table: DigestTable?, _ source: Source,
        where isOf: (ImageOrigin) async throws(ImageError) -> Bool
    ) async throws(ImageError) -> ImageOrigin? {
        for id in table?.recipes(digest) ?? [] {
            guard let recipe = recipes.recipe(id) else { continue }
            let origin = ImageOrigin(recipe: recipe, droplet: source.droplet)
            if try await isOf(origin) { return origin }
        }
        return nil
    }

    private func table(
        of source: Source, deriving digests: Digests
    ) async throws(ImageError) -> DigestTable {
        let wanted = recipes.next(source.base)
        while true {
            let table = try await making.value(for: source) { () throws(ImageError) in
                try await limit.run(cancelled: .cancelled) { () throws(ImageError) in
                    try await grow(tables.value(source) ?? DigestTable(), of: source, deriving: digests)
                }
            }
            // A table that an earlier caller began to make may lack the newest recipe, so this caller tries again.
            if table.next >= wanted { return table }
        }
    }

    private func grow(
        _ old: DigestTable, of source: Source, deriving digests: Digests
    ) async throws(ImageError) -> DigestTable {
        var table = old
        var failure: ImageError?
        do throws(ImageError) {
            let next = recipes.next(source.base)
            for (place, (number, recipe)) in recipes.numbered(source.base, from: table.next).enumerated() {
                if Task.isCancelled { throw .cancelled }
                table.add(try await digests(ImageOrigin(recipe: recipe, droplet: source.droplet)), of: recipe.id)
                table.next = number + 1
                derivations.withLock { $0 += 1 }
                if place % 16 == 15 { await Task.yield() }
            }
            // Recipes with the last numbers may have been removed since, so the table is complete although it did not
            // see them.
            table.next = max(table.next, next)
        } catch { failure = error }
        // An unfinished table is kept, so that the next caller goes on from there.
        table.sort()
        tables.insert(table, for: source, cost: table.cost)
        if let failure { throw failure }
        return table
    }
}

/// The prefixes of the digests that one source and its recipes make.
struct DigestTable: Sendable {
    /// How many bits of a digest are kept; the remaining bits of an entry are the place of its recipe.
    private static let bits: UInt64 = 40
    private static let places: UInt64 = 1 << (64 - bits)

    /// The number of the first recipe that the table does not cover.
    var next = 0
    private var recipes: [String] = []
    /// Each has a digest's first bits, then the place of its recipe in `recipes`; sorted.
    private var entries: [UInt64] = []

    /// Its approximate size in memory, in bytes.
    var cost: Int { 512 + entries.count * MemoryLayout<UInt64>.stride + recipes.count * MemoryLayout<String>.stride }

    mutating func add(_ digests: [Digest], of recipe: String) {
        let place = UInt64(recipes.count)
        guard place < Self.places else { return }
        recipes.append(recipe)
        for digest in digests { entries.append(Self.beginning(digest) | place) }
    }

    /// Must be called after the last `add` and before `recipes(_:)`.
    mutating func sort() { entries.sort() }

    /// The recipes that may make a document with this digest, the newest first.
    func recipes(_ digest: Digest) -> [String] {
        let beginning = Self.beginning(digest)
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle] < beginning { low = middle + 1 } else { high = middle }
        }
        return entries[low...].prefix { $0 & ~(Self.places - 1) == beginning }
            .reversed().map { recipes[Int($0 & (Self.places - 1))] }
    }

    private static func beginning(_ digest: Digest) -> UInt64 {
        (UInt64(digest.hex.prefix(16), radix: 16) ?? 0) & ~(places - 1)
    }
}
