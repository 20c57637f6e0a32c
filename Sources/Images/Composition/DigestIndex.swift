import Droplets
import OCI
import Rootfs
import Runtime
import Synchronization

/// Which recipe a digest comes of, for every document that is derived: complete, in bounded memory, and cheap to ask for
/// digests that nobody knows.
///
/// For each source there is a table of the beginnings of digests. It is made when it is first missed, by deriving the
/// source's documents once, and grows by the recipes that came since. It is a hint: who asks derives the document again
/// and compares it whole, so that a recipe that went, or another digest with the same beginning, does no harm. Tables
/// that were not used of late go when memory is short, and are made again. They are made one at a time: whoever guesses
/// digests in many repositories keeps one processor busy, and nobody waits who pulls what is known.
final class DigestIndex: Sendable {
    /// Makes the digests of what is derived of an image's origin.
    typealias Digests = (ImageOrigin) async throws(ImageError) -> [Digest]

    /// What documents are derived of besides a recipe.
    struct Source: Hashable, Sendable {
        /// nil: base images, which have no droplet.
        let droplet: DropletContent?
        let base: RecipeStore.Base
        /// The number of changes of package lists that the documents are of; 0 for those that are not made of any.
        var packageChanges = 0
    }

    private let recipes: RecipeStore
    private let tables: BoundedCache<Source, DigestTable>
    private let making = SingleFlight<Source, DigestTable>()
    private let limit = Limiter(1)
    private let derivations = Mutex(0)

    /// - Parameter maximumBytes: what all tables take together, roughly.
    init(_ recipes: RecipeStore, maximumBytes: Int) {
        self.recipes = recipes
        tables = BoundedCache(maximumCost: maximumBytes)
    }

    /// How often documents were derived to make tables.
    var derived: Int { derivations.withLock { $0 } }

    /// What a digest comes of; nil if it comes of nothing here.
    /// - Parameter isOf: whether an origin really makes a document with the digest.
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
            // A table that another caller began to make earlier may lack the youngest recipe.
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
            // Recipes with the last numbers may have been removed: the table is complete all the same.
            table.next = max(table.next, next)
        } catch { failure = error }
        // An unfinished table is kept, so that the next caller goes on from there.
        table.sort()
        tables.insert(table, for: source, cost: table.cost)
        if let failure { throw failure }
        return table
    }
}

/// The digests of what one source and its recipes make, by their beginnings.
struct DigestTable: Sendable {
    /// How many of a digest's bits are kept beside the recipe's place.
    private static let bits: UInt64 = 40
    private static let places: UInt64 = 1 << (64 - bits)

    /// The number of the first recipe that is not in it.
    var next = 0
    private var recipes: [String] = []
    /// Sorted: a digest's first bits, then the place of its recipe.
    private var entries: [UInt64] = []

    /// Roughly the bytes it takes in memory.
    var cost: Int { 512 + entries.count * MemoryLayout<UInt64>.stride + recipes.count * MemoryLayout<String>.stride }

    mutating func add(_ digests: [Digest], of recipe: String) {
        let place = UInt64(recipes.count)
        guard place < Self.places else { return }
        recipes.append(recipe)
        for digest in digests { entries.append(Self.beginning(digest) | place) }
    }

    /// Called after the last `add`, before anybody asks.
    mutating func sort() { entries.sort() }

    /// The recipes that may make a document with this digest, the youngest first.
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
