import OCI
import Testing

@testable import Registry

@Suite("Keys of a repository")
struct RepositoryKeysTests {
    @Test("a marker names its repository, and no two share one", arguments: ["a", "a/b", "a-b", "a.b/c__d", "a/b/c"])
    func markers(text: String) throws {
        let name = try RepositoryName(parsing: text)
        let escaped = RepositoryKeys.component(name.text)
        #expect(!escaped.contains("/"))
        #expect(RepositoryKeys.repository(of: escaped) == name)
    }
}
