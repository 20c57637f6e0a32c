import JSON

/// Which objects of a collection are wanted.
package struct ListOptions: Sendable {
    package var labelSelector: String?
    package var fieldSelector: String?
    /// Objects a page, at least 1.
    package var limit: Int

    package init(labelSelector: String? = nil, fieldSelector: String? = nil, limit: Int = 250) {
        (self.labelSelector, self.fieldSelector, self.limit) = (labelSelector, fieldSelector, max(1, limit))
    }
}

/// A part of a list. It holds the bytes of the answer; each object is parsed when it is looked at.
package struct ListPage: Sendable {
    /// Of the whole list, the same on each of its pages: where a watch goes on.
    package let resourceVersion: String
    /// How many objects there are on later pages, if the server knows.
    package let remaining: Int64?
    let next: String?
    private let items: [ArraySlice<UInt8>]
    private let resource: Resource

    package var count: Int { items.count }

    init(_ bytes: [UInt8], _ resource: Resource) throws(KubernetesError) {
        do {
            let members = try JSONSlices.members(of: bytes[...])
            func member(_ name: String) -> ArraySlice<UInt8>? { members.first { $0.name == name }?.value }
            guard let metadata = member("metadata") else {
                throw JSONSlices.Fault(message: "it has no metadata", offset: 0)
            }
            let values = try JSONValue(parsing: metadata)
            resourceVersion = values["resourceVersion"]?.string ?? ""
            next = values["continue"]?.string.flatMap { $0.isEmpty ? nil : $0 }
            remaining = values["remainingItemCount"]?.integer
            // Go writes an empty list as null.
            let list = member("items") ?? []
            let isEmpty = list.isEmpty || list.elementsEqual("null".utf8)
            items = try isEmpty ? [] : JSONSlices.elements(of: list)
        } catch {
            throw .malformed("a list of \(resource): \(error)")
        }
        self.resource = resource
    }

    /// Hands over one object after the other. Servers leave out apiVersion and kind of a list's items, so they are put in.
    /// - Throws: `KubernetesError.malformed`; what the body throws.
    package func forEach(_ body: (KubernetesObject) throws -> Void) throws {
        for item in items {
            let parsed: JSONValue
            do throws(JSONError) { parsed = try JSONValue(parsing: item, maximumDepth: 128) } catch {
                throw KubernetesError.malformed("an item of a list of \(resource): \(error)")
            }
            guard var object = KubernetesObject(parsed) else {
                throw KubernetesError.malformed("an item of a list of \(resource) is no object")
            }
            if object["kind"] == nil { object["kind"] = .string(resource.kind) }
            if object["apiVersion"] == nil { object["apiVersion"] = .string(resource.apiVersion) }
            try body(object)
        }
    }
}

/// A list's pages, asked for one after the other. All are of one state of the cluster; when the server can't keep that
/// state any longer, the sequence throws an error that `isExpired`, and the list has to begin anew (Kubernetes
/// documentation, "Retrieving large results sets in chunks").
package struct ListPages: AsyncSequence, Sendable {
    package typealias Element = ListPage

    let client: KubernetesClient
    let resource: Resource
    let namespace: String?
    let options: ListOptions

    package func makeAsyncIterator() -> Iterator { Iterator(pages: self) }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate let pages: ListPages
        fileprivate var token: String?
        fileprivate var isDone = false

        package mutating func next() async throws -> ListPage? {
            guard !isDone else { return nil }
            let path =
                try pages.resource.path(namespace: pages.namespace)
                + query([
                    ("labelSelector", pages.options.labelSelector), ("fieldSelector", pages.options.fieldSelector),
                    ("limit", String(pages.options.limit)), ("continue", token),
                ])
            let answer = try await pages.client.send(
                .init(path: path, isRepeatable: true, isSecret: pages.resource.isSecret))
            let page = try ListPage(answer.body, pages.resource)
            // A server that answers with the token that it was given would never come to an end.
            guard page.next == nil || page.next != token else {
                throw KubernetesError.malformed("a list of \(pages.resource) does not go on")
            }
            token = page.next
            isDone = page.next == nil
            return page
        }
    }
}

extension KubernetesClient {
    /// - Parameter namespace: nil for all.
    package func pages(
        of resource: Resource, namespace: String? = nil, _ options: ListOptions = ListOptions()
    ) -> ListPages {
        ListPages(client: self, resource: resource, namespace: namespace, options: options)
    }

    /// All objects at once: for collections that are known to be small. A list that expires begins anew.
    /// - Parameter maximum: more objects than that are an error.
    package func list(
        _ resource: Resource, namespace: String? = nil, _ options: ListOptions = ListOptions(), maximum: Int = 10_000
    ) async throws -> (objects: [KubernetesObject], resourceVersion: String) {
        var attempts = 0
        while true {
            var objects: [KubernetesObject] = []
            var version = ""
            do {
                for try await page in pages(of: resource, namespace: namespace, options) {
                    try page.forEach { objects.append($0) }
                    version = page.resourceVersion
                    guard objects.count <= maximum else {
                        throw KubernetesError.malformed("there are more than \(maximum) \(resource)")
                    }
                }
                return (objects, version)
            } catch let error as KubernetesError where error.isExpired {
                attempts += 1
                guard attempts < 3 else { throw error }
            }
        }
    }
}
