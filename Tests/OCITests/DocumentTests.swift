import JSON
import OCI
import Testing

@Suite("Manifests, indexes and configs")
struct DocumentTests {
    static let digest = Digest.of([]).description
    static let descriptor = #"{"mediaType":"a/b","digest":"\#(digest)","size":3,"x-new":{"kept":[1,2.50]}}"#

    @Test("a manifest keeps the members that Cistern does not know")
    func manifestRoundTrip() throws {
        let text = """
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":\(Self.descriptor),\
            "layers":[\(Self.descriptor)],"annotations":{"a":"b"},"subject":\(Self.descriptor),\
            "artifactType":"x/y","org.example.later":{"n":1e3}}
            """
        let json = try JSONValue(parsing: text)
        #expect(try Manifest(json: json).json == json)
    }

    @Test("annotations are told apart by their bytes")
    func annotationSpellings() throws {
        let text = """
            {"schemaVersion":2,"config":\(Self.descriptor),"layers":[],"annotations":{"\u{E9}":"1","e\u{301}":"2"}}
            """
        let manifest = try Manifest(json: try JSONValue(parsing: text))
        #expect(manifest.annotations["\u{E9}"] == "1" && manifest.annotations["e\u{301}"] == "2")
        #expect(manifest.json["annotations"]?.object?.count == 2)
    }

    @Test("an index keeps the members that Cistern does not know")
    func indexRoundTrip() throws {
        let text = """
            {"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"\(Self.digest)","size":0,\
            "platform":{"os":"linux","architecture":"arm64","variant":"v8","os.version":"1"}}],"later":null}
            """
        var json = try JSONValue(parsing: text)
        #expect(try Index(json: json).json == json)
        json = try JSONValue(parsing: #"{"schemaVersion":2,"manifests":[]}"#)
        #expect(try Index(json: json).json == json)
    }

    @Test("a config keeps the members that Cistern does not know")
    func configRoundTrip() throws {
        let text = """
            {"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z","author":"somebody",\
            "config":{"User":"2000:2000","Env":["A=b"],"Entrypoint":["/x"],"Cmd":["y"],"WorkingDir":"/w",\
            "Labels":{"l":"m"},"StopSignal":"SIGTERM","ExposedPorts":{"8080/tcp":{}},"Healthcheck":{"Test":["NONE"]}},\
            "rootfs":{"type":"layers","diff_ids":["\(Self.digest)"]},\
            "history":[{"created":"2026-01-01T00:00:00Z","created_by":"c","comment":"d","empty_layer":true}],\
            "docker_version":"20"}
            """
        let json = try JSONValue(parsing: text)
        #expect(try ImageConfig(json: json).json == json)
    }

    @Test(
        "documents that could be read in two ways or lack what they must have are refused",
        arguments: [
            #"[]"#, #"{}"#, #"{"schemaVersion":1,"config":D,"layers":[]}"#, #"{"schemaVersion":2,"layers":[]}"#,
            #"{"schemaVersion":2,"config":D,"layers":{}}"#, #"{"schemaVersion":2,"config":D,"layers":""}"#,
            #"{"schemaVersion":2,"config":null,"layers":null}"#, #"{"schemaVersion":2,"config":D,"layers":[null]}"#,
            #"{"schemaVersion":2,"config":D,"layers":[],"manifests":[]}"#,
            #"{"schemaVersion":2,"config":D,"layers":[{"mediaType":"a/b","digest":"sha256:0","size":1}]}"#,
            #"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"SHA","size":-1},"layers":[]}"#,
            #"{"schemaVersion":2,"config":D,"layers":[],"annotations":{"a":1}}"#,
        ])
    func badManifests(_ template: String) throws {
        let text = template.replacing("D", with: Self.descriptor)
        let json = try JSONValue(parsing: text)
        #expect(throws: OCIError.self) { try Manifest(json: json) }
    }

    @Test(
        "a list that is null or missing is empty, as programs written in Go encode it",
        arguments: [
            #"{"schemaVersion":2,"config":D,"layers":null,"manifests":null,"annotations":null,"subject":null}"#,
            #"{"schemaVersion":2,"config":D}"#,
        ])
    func nullLayers(_ template: String) throws {
        let manifest = try Manifest(json: JSONValue(parsing: template.replacing("D", with: Self.descriptor)))
        #expect(manifest.layers.isEmpty && manifest.subject == nil)
    }

    @Test(
        "an index's list too",
        arguments: [
            #"{"schemaVersion":2,"manifests":null,"layers":null,"config":null}"#, #"{"schemaVersion":2}"#,
        ])
    func nullManifests(_ text: String) throws {
        #expect(try Index(json: JSONValue(parsing: text)).manifests.isEmpty)
    }

    @Test(
        "an error says which part of the document is wrong, and how",
        arguments: [
            (#"[]"#, "the manifest is not a JSON object"), (#"{}"#, "the manifest's schemaVersion is not 2"),
            (#"{"schemaVersion":2,"layers":[]}"#, "the manifest has no valid 'config'"),
            (#"{"schemaVersion":2,"config":[],"layers":[]}"#, "the manifest's config is not a JSON object"),
            (#"{"schemaVersion":2,"config":D,"layers":[D,7]}"#, "the manifest's layers[1] is not a JSON object"),
            (#"{"schemaVersion":2,"config":D,"layers":[{}]}"#, "the manifest's layers[0] has no valid 'mediaType'"),
            (
                #"{"schemaVersion":2,"config":D,"layers":[{"mediaType":"a/b","digest":"sha384:00","size":1}]}"#,
                "the manifest's layers[0]'s digest: 'sha384' is not an algorithm that is taken here: sha256, sha512"
            ),
            (
                #"{"schemaVersion":2,"config":D,"layers":[{"mediaType":"a/b","digest":"sha256:00","size":1}]}"#,
                "the manifest's layers[0]'s digest: 'sha256:00' is not a digest: sha256 has 64 digits, 0 to 9 and a to f"
            ),
            (
                #"{"schemaVersion":2,"config":{"mediaType":"a b","digest":"sha256:00","size":1},"layers":[]}"#,
                "the manifest's config's mediaType: 'a b' is not a media type"
            ),
            (
                #"{"schemaVersion":2,"config":D,"layers":[],"subject":"x"}"#,
                "the manifest's subject is not a JSON object"
            ),
            (
                #"{"schemaVersion":2,"config":D,"layers":[],"annotations":{"a":1}}"#,
                "the manifest's annotations has a value that is not a string: 'a'"
            ),
        ])
    func messages(_ template: String, message: String) throws {
        let json = try JSONValue(parsing: template.replacing("D", with: Self.descriptor))
        #expect(throws: OCIError.document(message)) { try Manifest(json: json) }
    }

    @Test("an index with layers or a config is refused", arguments: ["layers", "config"])
    func confusedIndex(_ member: String) throws {
        let json = try JSONValue(parsing: #"{"schemaVersion":2,"manifests":[],"\#(member)":[]}"#)
        #expect(throws: OCIError.self) { try Index(json: json) }
    }

    @Test(
        "a size that is negative, broken or beyond 63 bits is refused",
        arguments: ["-1", "1.5", "1e3", "9223372036854775808", "\"1\""])
    func badSizes(_ size: String) throws {
        let json = try JSONValue(parsing: #"{"mediaType":"a/b","digest":"\#(Self.digest)","size":\#(size)}"#)
        #expect(throws: OCIError.self) { try Descriptor(json: json) }
    }
}
