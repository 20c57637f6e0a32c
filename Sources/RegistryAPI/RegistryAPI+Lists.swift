import HTTPServer
import HTTPTypes
import Identity
import Images
import JSON
import OCI
import Registry

extension RegistryAPI {
    /// "Listing tags": at most `n` tags, after `last`.
    func tags(_ name: RepositoryName, _ request: Request) async throws -> Response {
        let (count, last) = try paging(request)
        let derived = try await DerivedRepository(name, in: images)?.tags()
        guard let derived else { return answer(try await registry.tags(name, after: last, limit: count), name) }
        // A repository has few derived tags, so they are merged with one page of pushed ones.
        var tags = derived
        var isMore = false
        if try await registry.exists(name) {
            let pushed = try await registry.tags(name, after: last, limit: count)
            isMore = pushed.next != nil
            tags += pushed.elements
            tags = Set(tags).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        }
        if let last { tags = Array(tags.drop { !last.utf8.lexicographicallyPrecedes($0.utf8) }) }
        isMore = isMore || count < tags.count
        tags = Array(tags.prefix(count))
        return answer(Page(elements: tags, next: isMore ? tags.last : nil), name)
    }

    private func answer(_ page: Page<String>, _ name: RepositoryName) -> Response {
        var headers: HTTPFields = [:]
        if let next = page.next { headers[.link] = link("/v2/\(name)/tags/list?n=\(page.elements.count)", next) }
        return .json(
            ["name": .string(name.text), "tags": .array(page.elements.map { .string($0) })], headers: headers)
    }

    /// The repositories with pushed content that the user may read.
    func catalog(_ request: Request) async throws -> Response {
        let user = try request.requireUser()
        let (count, last) = try paging(request)
        let page = try await registry.catalog(after: last, limit: count) { user.holds(.pull, on: $0.text) }
        let names = page.elements.map(\.text)
        var headers: HTTPFields = [:]
        if page.next != nil, let last = names.last { headers[.link] = link("/v2/_catalog?n=\(count)", last) }
        return .json(["repositories": .array(names.map { .string($0) })], headers: headers)
    }

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
            if ["digest", "mount"].contains(name) { throw .digestInvalid(request.queryText) }
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
