import HTTPServer
import HTTPTypes
import Images
import JSON
import OCI
import Registry

extension RegistryAPI {
    /// The largest list, in bytes: clients take no more than of a manifest.
    private static let maximumList = (4 << 20) - 1024

    /// "Listing Referrers": what was pushed and what is derived, in the byte order of their digests.
    func referrers(_ name: RepositoryName, _ subject: Digest, _ request: Request) async throws -> Response {
        // Media types have a plus and no space, whatever a form's escaping makes of it.
        let type = try query("artifactType", request).map { String($0.map { $0 == " " ? "+" : $0 }) }
        let last = try query("last", request)
        let derived = try await Repository(name).referrers(of: subject, in: images).map(\.descriptor)
            .filter { type == nil || $0.artifactType?.text == type }
        let pushed = try await registry.referrers(name, of: subject, artifactType: type, after: last)
        let page = Self.merge(derived, into: pushed, after: last)
        var headers: HTTPFields = [:]
        if type != nil { headers[.ociFiltersApplied] = "artifactType" }
        if let next = page.next {
            let filter = type.map { "artifactType=\(escaped($0))&" } ?? ""
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
            // Those behind the page's end come with the next one.
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

    /// Where the list goes on after a descriptor. ASCII, so strings are in byte order.
    private static func place(_ descriptor: Descriptor) -> String {
        "\(descriptor.digest.algorithm.rawValue)-\(descriptor.digest.hex)"
    }
}
