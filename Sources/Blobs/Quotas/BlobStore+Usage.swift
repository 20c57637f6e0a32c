public import ObjectStore

extension BlobStore {
    /// Tells a count what the store's content takes. Records are not counted: they are a few hundred bytes each.
    /// - Parameter reading: read past any cache.
    public static func countUsage(in reading: any ObjectStore, _ count: QuotaCount) async throws(BlobError) {
        var after: String?
        while true {
            if Task.isCancelled { throw .store(.cancelled) }
            let page: [ObjectInfo]
            do { page = try await reading.list(prefix: "data/", startAfter: after, limit: 1000) } catch {
                throw .store(error)
            }
            count.add(data: page.map { (id: String($0.key.text.dropFirst(5)), bytes: $0.size) })
            guard let last = page.last else { return }
            after = last.key.text
        }
    }
}
