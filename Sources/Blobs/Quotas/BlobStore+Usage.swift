public import ObjectStore

extension BlobStore {
    private static let usagePage = 8192

    /// Tells a count what the store's content takes. Records are not counted, but for the content that they hold: they
    /// are a hundred bytes each.
    /// - Parameter reading: read past any cache.
    public static func countUsage(in reading: any ObjectStore, _ count: QuotaCount) async throws(BlobError) {
        try await countUsage("blobs/", in: reading, count) { BlobRecord.contentSize(ofRecord: $0) }
        try await countUsage("data/", in: reading, count) { $0 }
    }

    /// - Parameter content: by an object's size.
    private static func countUsage(
        _ prefix: String, in reading: any ObjectStore, _ count: QuotaCount, _ content: (Int64) -> Int64
    ) async throws(BlobError) {
        var after: String?
        while true {
            if Task.isCancelled { throw .store(.cancelled) }
            let page: [ObjectInfo]
            do { page = try await reading.list(prefix: prefix, startAfter: after, limit: usagePage) } catch {
                throw .store(error)
            }
            count.add(stored: page.map { (key: $0.key.text, bytes: content($0.size)) })
            guard page.count == usagePage, let last = page.last else { return }
            after = last.key.text
        }
    }
}
