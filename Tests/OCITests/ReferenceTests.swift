import OCI
import Testing

@Suite("Names, tags and references")
struct ReferenceTests {
    @Test(
        "repository names of the distribution specification are accepted",
        arguments: [
            "a", "0", "library/debian", "cloudfoundry/0f2b-11", "a.b/c_d/e__f/g---h", "a/b/c/d/e",
            String(repeating: "x", count: 255),
        ])
    func goodNames(_ text: String) throws {
        #expect(try RepositoryName(parsing: text).text == text)
    }

    @Test(
        "names outside the grammar are refused",
        arguments: [
            "", "/", "a/", "/a", "a//b", "A", "a/B", ".a", "a.", "a..b", "a___b", "_a", "a_", "-a", "a-", "..",
            "a/../b",
            "a/./b", "a\0b", "a b", "ä", "a%2fb", "a:b", "a@b", String(repeating: "x", count: 256),
            String(repeating: "x/", count: 5000),
        ])
    func badNames(_ text: String) {
        #expect(throws: OCIError.name(text)) { try RepositoryName(parsing: text) }
    }

    @Test(
        "tags of the grammar are accepted", arguments: ["a", "_", "1.0", "v1-2_3", String(repeating: "t", count: 128)])
    func goodTags(_ text: String) throws {
        #expect(try Reference(parsing: text) == .tag(Tag(parsing: text)))
    }

    @Test(
        "tags outside the grammar are refused",
        arguments: ["", ".a", "-a", "a/b", "a b", "a\0", "é", "..", String(repeating: "t", count: 129)])
    func badTags(_ text: String) {
        #expect(throws: OCIError.tag(text)) { try Reference(parsing: text) }
    }

    @Test("a reference with a colon is a digest or nothing")
    func digests() throws {
        let digest = Digest.of([])
        #expect(try Reference(parsing: digest.description) == .digest(digest))
        #expect(throws: OCIError.digest("sha256:00")) { try Reference(parsing: "sha256:00") }
        #expect(throws: OCIError.digest("latest:1")) { try Reference(parsing: "latest:1") }
    }

    @Test("media types", arguments: ["application/json", "application/vnd.oci.image.layer.v1.tar+gzip", "a/b"])
    func goodMediaTypes(_ text: String) throws {
        #expect(try MediaType(parsing: text).text == text)
    }

    @Test("what is no media type is refused", arguments: ["", "a", "a/", "/b", "a/b/c", "a/b; c=d", "a b/c", "\n/x"])
    func badMediaTypes(_ text: String) {
        #expect(throws: OCIError.mediaType(text)) { try MediaType(parsing: text) }
    }
}
