import OCI
import RegistryTesting
import Testing

@testable import Registry

@Suite("The catalog")
struct CatalogTests {
    @Test("for somebody who may read one repository of many a page costs a listing for each thousand of them")
    func few() async throws {
        let world = try PushWorld()
        let names = try (0..<2500).map { try RepositoryName(parsing: "team\($0)/app") }
        for name in names { try await world.registry.mark(RepositoryKeys(name: name)) }
        world.calls.start()
        let page = try await world.registry.catalog(after: nil, limit: 1) { $0 == names[2400] }
        #expect(page.elements == [names[2400]])
        #expect(page.next == nil)
        #expect(world.calls.made.count <= 3)
    }

    @Test("pages of any size give every name once", arguments: [1, 2, 3, 7, 1000])
    func pages(_ size: Int) async throws {
        let world = try PushWorld()
        let names = try (0..<20).map { try RepositoryName(parsing: "team\($0)/app") }
        for name in names { try await world.registry.mark(RepositoryKeys(name: name)) }
        var found: [RepositoryName] = []
        var after: String?
        repeat {
            let page = try await world.registry.catalog(after: after, limit: size) { $0 != names[3] }
            #expect(page.elements.count <= size)
            found += page.elements
            after = page.next
        } while after != nil
        #expect(Set(found) == Set(names).subtracting([names[3]]))
        #expect(found.count == 19)
    }
}
