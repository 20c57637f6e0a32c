public import OCI
public import ObjectStore

/// Goes through the digests that a store has a record of, live or gone, in the order of their keys.
///
/// It asks for names only, a directory's at a time: nothing is known of a record before it is read.
public struct BlobWalk: Sendable {
    private static let page = 8192

    private let store: any ObjectStore
    /// The prefixes of the directories to come at each depth, the next one last: algorithms, then the digests' first
    /// two digits.
    private var prefixes: [(text: String, depth: Int)] = [("blobs/", 0)]
    private var after: String?

    /// - Parameter store: read past any cache, lest what is in use be pushed out of it.
    public init(in store: any ObjectStore) { self.store = store }

    /// The next digests; nil at the end.
    public mutating func next() async throws(BlobError) -> [Digest]? {
        while let (prefix, depth) = prefixes.popLast() {
            if Task.isCancelled { throw .store(.cancelled) }
            let names: [String]
            do {
                names = try await store.listComponents(below: prefix, startAfter: after, limit: Self.page)
            } catch { throw .store(error) }
            guard depth == 2 else {
                // Few: algorithms, and 256 of each.
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
