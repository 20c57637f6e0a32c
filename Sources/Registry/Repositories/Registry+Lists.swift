import JSON
public import OCI
import ObjectStore
import Records

/// A page of a list.
public struct Page<Element: Sendable>: Sendable {
    public let elements: [Element]
    /// Where the next page begins: after this text; nil on the last page.
    public let next: String?

    public init(elements: [Element], next: String?) {
        self.elements = elements
        self.next = next
    }
}

extension Registry {
    /// The most elements that one page has.
    public static let maximumPage = 1000
    /// The largest page of referrers, in bytes: clients accept no larger index than a manifest. It has at least one
    /// element.
    static let maximumPageSize = ManifestContent.maximumSize

    /// A repository's tags in byte order ("Listing Tags").
    /// - Parameters:
    ///   - last: only tags after this text.
    ///   - limit: at most this many, and at most `maximumPage`.
    /// - Throws: `.unknownRepository`.
    public func tags(
        _ name: RepositoryName, after last: String?, limit: Int
    ) async throws(RegistryError) -> Page<String> {
        let keys = RepositoryKeys(name: name)
        guard try await exists(name) else { throw .unknownRepository(name) }
        return try await page(of: keys.tags, after: last, limit: limit) { (key) throws(RegistryError) in
            guard let tag: StoredRecord<TagRecord> = try await records.readable(key),
                try await membership(keys, tag.value.digest, tag.value.generation) != nil
            else { return nil }
            return String(key.text.dropFirst(keys.tags.count))
        }
    }

    /// The manifests whose subject is a digest, even if the subject does not exist ("Listing Referrers").
    /// - Parameter artifactType: if not nil, only manifests of this type.
    public func referrers(
        _ name: RepositoryName, of subject: Digest, artifactType: String?, after last: String?,
        limit: Int = maximumPage
    ) async throws(RegistryError) -> Page<Descriptor> {
        let keys = RepositoryKeys(name: name)
        var size = 0
        return try await page(of: keys.referrers(subject), after: last, limit: limit) { (key) throws(RegistryError) in
            guard let record: StoredRecord<ReferrerRecord> = try await records.readable(key) else { return nil }
            let descriptor = record.value.descriptor
            guard artifactType == nil || descriptor.artifactType?.text == artifactType,
                try await membership(keys, descriptor.digest, record.value.generation) != nil
            else { return nil }
            size += descriptor.json.canonicalBytes.count + 1
            return descriptor
        } isFull: {
            size > Self.maximumPageSize - 1024
        }
    }

    /// The repositories that were ever pushed to, in byte order of what they are called here (`RepositoryKeys.component`).
    /// Some may be empty.
    public func catalog(after last: String?, limit: Int) async throws(RegistryError) -> [String] {
        try await records.listComponents(below: RepositoryKeys.catalog, after: last, limit: limit)
    }

    /// Whether a repository has a manifest that was pushed.
    public func hasManifest(_ name: RepositoryName) async throws(RegistryError) -> Bool {
        try await !records.list(RepositoryKeys(name: name).manifests, after: nil, limit: 1).isEmpty
    }

    public func exists(_ name: RepositoryName) async throws(RegistryError) -> Bool {
        try await records.find(try RepositoryKeys(name: name).marker(), as: CatalogMarker.self).isThere
    }

    /// Lists the keys below a prefix until the page is full.
    /// - Parameters:
    ///   - element: the page's element for a key; nil if the key has none.
    ///   - isFull: whether the element returned last no longer fits into the page.
    private func page<Element: Sendable>(
        of prefix: String, after last: String?, limit: Int,
        _ element: (ObjectKey) async throws(RegistryError) -> Element?, isFull: () -> Bool = { false }
    ) async throws(RegistryError) -> Page<Element> {
        let limit = min(limit, Self.maximumPage)
        guard limit > 0 else { return Page(elements: [], next: nil) }
        var elements: [Element] = []
        var after = last.map { prefix + $0 }
        var ended: String?
        let listing = min(limit + 1, Self.maximumPage)
        while true {
            if Task.isCancelled { throw .cancelled }
            let keys = try await records.list(prefix, after: after, limit: listing)
            for key in keys {
                guard let found = try await element(key) else { continue }
                // One element more than asked for shows that there is a next page.
                guard elements.count < limit, elements.isEmpty || !isFull() else {
                    return Page(elements: elements, next: ended)
                }
                elements.append(found)
                ended = String(key.text.dropFirst(prefix.count))
            }
            guard keys.count == listing, let end = keys.last else { return Page(elements: elements, next: nil) }
            after = end.text
        }
    }
}
