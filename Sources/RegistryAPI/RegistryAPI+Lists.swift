import HTTPServer
import HTTPTypes
import Identity
import Images
import JSON
import OCI
import Registry
import Runtime

extension RegistryAPI {
    /// "Listing tags": at most `n` tags, after `last`.
    func tags(_ name: RepositoryName, _ request: Request) async throws -> Response {
        let (count, last) = try paging(request)
        // One more than asked for tells whether there are more.
        let derived = try await DerivedRepository(name, in: images)?.tags(after: last, limit: count + 1)
        guard let derived else { return answer(try await registry.tags(name, after: last, limit: count), name) }
        var tags = derived
        var isMore = count < tags.count
        if try await registry.exists(name) {
            let pushed = try await registry.tags(name, after: last, limit: count)
            tags = Set(tags + pushed.elements).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            isMore = pushed.next != nil || count < tags.count
        }
        tags = Array(tags.prefix(count))
        return answer(Page(elements: tags, next: isMore ? tags.last : nil), name)
    }

    private func answer(_ page: Page<String>, _ name: RepositoryName) -> Response {
        var headers: HTTPFields = [:]
        if let next = page.next { headers[.link] = link("/v2/\(name)/tags/list?n=\(page.elements.count)", next) }
        return .json(
            ["name": .string(name.text), "tags": .array(page.elements.map { .string($0) })], headers: headers)
    }

    /// The repositories that have something to pull which the user may pull: at most `n`, after `last`.
    func catalog(_ request: Request) async throws -> Response {
        let user = try request.requireUser()
        let (count, last) = try paging(request)
        let page = try await withTaskExecutorPreference(Self.catalogReader) {
            try await CatalogWalk(images: images, registry: registry, user: user).page(after: last, limit: count)
        }
        var headers: HTTPFields = [:]
        if let next = page.next { headers[.link] = link("/v2/_catalog?n=\(count)", next) }
        return .json(["repositories": .array(page.elements.map { .string($0) })], headers: headers)
    }

    /// Makes pages of the catalog, one at a time.
    private static let catalogReader = BlockingExecutor(name: "catalog", threads: 1, givesWay: false)

    private func link(_ target: String, _ last: String) -> String {
        "<\(target)&last=\(PercentEncoding.encode(last, allowing: "/"))>; rel=\"next\""
    }

    /// Parses `n`, limited to the largest page, and `last`.
    private func paging(_ request: Request) throws(RegistryFailure) -> (count: Int, last: String?) {
        var count = Registry.maximumPage
        if let text = try query("n", request) {
            guard text.utf8.count < 100, let number = Int(text) ?? Self.huge(text), number >= 0 else {
                throw .paginationInvalid(text)
            }
            count = min(number, count)
        }
        return (count, try query("last", request))
    }

    /// `Int.max` for a number that is too large for an `Int`; nil for any other text.
    private static func huge(_ text: String) -> Int? {
        !text.isEmpty && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? .max : nil
    }

    func query(_ name: String, _ request: Request) throws(RegistryFailure) -> String? {
        do { return try request.query(name) } catch {
            if ["digest", "mount"].contains(name) {
                throw .digestInvalid("a percent-escape of the query is malformed")
            }
            throw .paginationInvalid(request.queryText)
        }
    }
}

// Referrers.
extension RegistryAPI {
    /// The largest list, in bytes: clients accept no larger index than a manifest.
    private static let maximumList = (4 << 20) - 1024

    /// "Listing Referrers": pushed and derived ones, in the byte order of their digests.
    func referrers(_ name: RepositoryName, _ subject: Digest, _ request: Request) async throws -> Response {
        // Query parsing turns a plus into a space; a media type has no spaces, so each was a plus.
        let type = try query("artifactType", request).map { String($0.map { $0 == " " ? "+" : $0 }) }
        let last = try query("last", request)
        let derived = try await DerivedRepository(name, in: images)?.referrers(of: subject).map(\.descriptor)
            .filter { type == nil || $0.artifactType?.text == type }
        let pushed = try await registry.referrers(name, of: subject, artifactType: type, after: last)
        let page = Self.merge(derived ?? [], into: pushed, after: last)
        var headers: HTTPFields = [:]
        if type != nil { headers[.ociFiltersApplied] = "artifactType" }
        if let next = page.next {
            let filter = type.map { "artifactType=\(PercentEncoding.encode($0, allowing: "/"))&" } ?? ""
            headers[.link] = "</v2/\(name)/referrers/\(subject)?\(filter)last=\(next)>; rel=\"next\""
        }
        let index = Index(mediaType: .ociIndex, manifests: page.elements)
        return .bytes(index.json.canonicalBytes, contentType: MediaType.ociIndex.text, headers: headers)
    }

    static func merge(
        _ derived: [Descriptor], into page: Page<Descriptor>, after last: String?
    ) -> Page<Descriptor> {
        let pushed = Set(page.elements.map(\.digest))
        let others = derived.filter { descriptor in
            let place = place(descriptor)
            // A descriptor after the end of the pushed page belongs to the next page.
            return !pushed.contains(descriptor.digest) && last.map { $0 < place } ?? true
                && page.next.map { place < $0 } ?? true
        }
        guard !others.isEmpty else { return page }
        let all = (page.elements + others).sorted { place($0) < place($1) }
        var size = 0
        var fitting = 0
        for descriptor in all.prefix(Registry.maximumPage) {
            size += descriptor.json.canonicalBytes.count + 1
            if size > maximumList, fitting > 0 { break }
            fitting += 1
        }
        guard fitting < all.count else { return Page(elements: all, next: page.next) }
        return Page(elements: Array(all[..<fitting]), next: place(all[fitting - 1]))
    }

    /// A descriptor's place in the list, after which the next page begins. It is ASCII, so strings sort as their bytes.
    private static func place(_ descriptor: Descriptor) -> String {
        "\(descriptor.digest.algorithm.rawValue)-\(descriptor.digest.hex)"
    }
}
