public import OCI
public import ObjectStore
import Records

/// Goes through the digests that a store has a record of, live or gone, in the order of their keys.
///
/// It lists names only, page by page, and does not read the records.
public struct BlobWalk: Sendable {
    private static let page = 8192

    private let store: any ObjectStore
    /// The prefixes still to be listed with their depth, the next one last: algorithms, then the digests' first two
    /// digits.
    private var prefixes: [(text: String, depth: Int)] = [("blobs/", 0)]
    private var after: String?

    /// - Parameter store: one without a cache, since the walk would evict what is in use.
    public init(in store: any ObjectStore) { self.store = store }

    /// The next digests; nil at the end.
    public mutating func next() async throws(BlobError) -> [Digest]? {
        while let (prefix, depth) = prefixes.popLast() {
            if Task.isCancelled { throw .store(.cancelled) }
            let names = try await BlobError.ofStore(
                await store.listComponents(below: prefix, startAfter: after, limit: Self.page))
            guard depth == 2 else {
                // These two levels are short: the algorithms, and at most 256 directories of each.
                for name in names.reversed() { prefixes.append((prefix + name + "/", depth + 1)) }
                continue
            }
            after = nil
            if names.count == Self.page {
                prefixes.append((prefix, depth))
                after = names.last
            }
            guard let algorithm = DigestAlgorithm(rawValue: String(Substring(prefix.utf8.dropFirst(6).dropLast(4))))
            else { continue }
            return names.compactMap { try? Digest(algorithm, hex: $0) }
        }
        return nil
    }
}

extension BlobStore {
    private static let usagePage = 8192

    /// Tells a count how many bytes the store's content takes. Of records only their inline content counts, since they
    /// take about a hundred bytes each.
    /// - Parameter reading: a store without a cache.
    public static func countUsage(in reading: any ObjectStore, _ count: QuotaCount) async throws(BlobError) {
        try await countUsage("blobs/", in: reading, count) { BlobRecord.contentSize(ofRecord: $0) }
        try await countUsage("data/", in: reading, count) { $0 }
    }

    /// - Parameter content: the bytes of content in an object, by the object's size.
    private static func countUsage(
        _ prefix: String, in reading: any ObjectStore, _ count: QuotaCount, _ content: (Int64) -> Int64
    ) async throws(BlobError) {
        var after: String?
        while true {
            if Task.isCancelled { throw .store(.cancelled) }
            let page = try await BlobError.ofStore(
                await reading.list(prefix: prefix, startAfter: after, limit: usagePage))
            count.add(stored: page.map { (key: $0.key.text, bytes: content($0.size)) })
            guard page.count == usagePage, let last = page.last else { return }
            after = last.key.text
        }
    }
}
