import JSON
import OCI
import Testing

/// A user's hands on one repository: the distribution specification's requests in short.
struct Repo: Sendable {
    let client: Client
    let name: String
    let user: String

    init(_ client: Client, _ name: String, as user: String = "operator") {
        self.client = client
        self.name = name
        self.user = user
    }

    /// The same repository in another user's hands.
    func asUser(_ user: String) -> Repo { Repo(client, name, as: user) }

    /// Another repository in the same hands.
    func other(_ suffix: String) -> Repo { Repo(client, "\(name)-\(suffix)", as: user) }

    var root: String { "/v2/\(name)" }

    func send(
        _ method: String, _ target: String, _ headers: [String: String] = [:], _ body: [UInt8]? = nil
    ) async throws -> Answer {
        try await client.send(method, target, as: user, headers, body: body)
    }

    func get(_ rest: String, _ headers: [String: String] = [:]) async throws -> Answer {
        try await send("GET", "\(root)/\(rest)", headers)
    }

    func status(_ rest: String) async throws -> Int { try await get(rest).status }

    // MARK: Blobs

    /// end-4a, end-4b, end-11
    func post(_ query: String = "", _ body: [UInt8]? = []) async throws -> Answer {
        try await send("POST", "\(root)/blobs/uploads/\(query)", [:], body)
    }

    /// Begins an upload.
    /// - Returns: where it goes on.
    func begin(_ query: String = "") async throws -> String {
        let answer = try await post(query)
        try #require(answer.status == 202, "\(answer.text)")
        return try answer.location()
    }

    /// end-5
    func patch(_ location: String, _ bytes: [UInt8], at offset: Int? = nil) async throws -> Answer {
        try await send("PATCH", location, offset.map { contentRange($0, bytes) } ?? [:], bytes)
    }

    /// end-6
    func put(
        _ location: String, _ digest: String?, _ bytes: [UInt8] = [], at offset: Int? = nil
    ) async throws -> Answer {
        let separator = location.contains("?") ? "&" : "?"
        let target = digest.map { "\(location)\(separator)digest=\($0)" } ?? location
        return try await send("PUT", target, offset.map { contentRange($0, bytes) } ?? [:], bytes)
    }

    /// Pushes a blob in a single request.
    /// - Returns: its digest.
    @discardableResult
    func push(_ bytes: [UInt8], _ algorithm: DigestAlgorithm = .sha256) async throws -> String {
        let digest = Digest.of(bytes, algorithm).description
        let answer = try await post("?digest=\(digest)", bytes)
        try #require(answer.status == 201, "\(answer.text)")
        return digest
    }

    /// The blob can be had, whole and under its digest.
    func expectBlob(
        _ digest: String, _ bytes: [UInt8], _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let answer = try await get("blobs/\(digest)")
        #expect(answer.status == 200, comment, sourceLocation: sourceLocation)
        #expect(answer.body == bytes, comment, sourceLocation: sourceLocation)
        #expect(answer["Docker-Content-Digest"] == digest, comment, sourceLocation: sourceLocation)
        let head = try await send("HEAD", "\(root)/blobs/\(digest)")
        #expect(head.status == 200, comment, sourceLocation: sourceLocation)
        #expect(head["Content-Length"] == String(bytes.count), comment, sourceLocation: sourceLocation)
    }

    func expectNoBlob(_ digest: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let answer = try await get("blobs/\(digest)")
        #expect(answer.status == 404, sourceLocation: sourceLocation)
        #expect(answer.registryCode == "BLOB_UNKNOWN", sourceLocation: sourceLocation)
        #expect(try await send("HEAD", "\(root)/blobs/\(digest)").status == 404, sourceLocation: sourceLocation)
    }

    /// A 201 whose Location gives what was pushed.
    func expectCreated(
        _ answer: Answer, _ digest: String, _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        #expect(answer.status == 201, "\(answer.text)", sourceLocation: sourceLocation)
        #expect(answer["Docker-Content-Digest"] == digest, sourceLocation: sourceLocation)
        let location = try answer.location(sourceLocation: sourceLocation)
        let fetched = try await send("GET", location)
        #expect(fetched.status == 200, "\(location)", sourceLocation: sourceLocation)
        #expect(fetched.body == bytes, "\(location)", sourceLocation: sourceLocation)
    }

    /// end-13: an upload stands at a number of bytes and says where it goes on.
    func expectUpload(
        _ location: String, received: Int, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let answer = try await send("GET", location)
        #expect(answer.status == 204, "\(answer.text)", sourceLocation: sourceLocation)
        #expect(answer["Range"] == "0-\(max(0, received - 1))", sourceLocation: sourceLocation)
        #expect(try answer.location() == location, sourceLocation: sourceLocation)
    }

    func expectNoUpload(_ location: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for (method, body) in [("GET", nil), ("PATCH", [1]), ("PUT", [1]), ("DELETE", nil)] as [(String, [UInt8]?)] {
            let target = method == "PUT" ? location + "?digest=" + Digest.of([1]).description : location
            let answer = try await send(method, target, [:], body)
            #expect(answer.status == 404, "\(method)", sourceLocation: sourceLocation)
            #expect(answer.registryCode == "BLOB_UPLOAD_UNKNOWN", "\(method)", sourceLocation: sourceLocation)
        }
    }

    // MARK: Manifests

    /// end-7
    func put(
        manifest: [UInt8], _ reference: String, type: String? = Manifests.oci
    ) async throws -> Answer {
        let headers = type.map { ["Content-Type": $0] } ?? [:]
        return try await send("PUT", "\(root)/manifests/\(reference)", headers, manifest)
    }

    /// Pushes a manifest that has to be taken.
    /// - Returns: its digest.
    @discardableResult
    func push(
        manifest: [UInt8], _ reference: String? = nil, type: String? = Manifests.oci,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let digest = Digest.of(manifest).description
        let answer = try await put(manifest: manifest, reference ?? digest, type: type)
        try #require(answer.status == 201, "\(answer.text)", sourceLocation: sourceLocation)
        return digest
    }

    func delete(_ rest: String) async throws -> Answer { try await send("DELETE", "\(root)/\(rest)") }

    func expectManifest(
        _ reference: String, _ bytes: [UInt8], type: String = Manifests.oci,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let answer = try await get("manifests/\(reference)")
        #expect(answer.status == 200, "\(answer.text)", sourceLocation: sourceLocation)
        #expect(answer.body == bytes, "kept byte for byte", sourceLocation: sourceLocation)
        #expect(answer["Content-Type"] == type, sourceLocation: sourceLocation)
        let head = try await send("HEAD", "\(root)/manifests/\(reference)")
        #expect(head.status == 200 && head.body.isEmpty, sourceLocation: sourceLocation)
        for name in ["Content-Type", "Content-Length", "Docker-Content-Digest"] {
            #expect(head[name] == answer[name] && head[name] != nil, "\(name)", sourceLocation: sourceLocation)
        }
    }

    func expectNoManifest(_ reference: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let answer = try await get("manifests/\(reference)")
        #expect(answer.status == 404 && answer.registryCode == "MANIFEST_UNKNOWN", sourceLocation: sourceLocation)
        let head = try await send("HEAD", "\(root)/manifests/\(reference)")
        #expect(head.status == 404, sourceLocation: sourceLocation)
    }

    // MARK: Lists

    /// All that a list gives, page by page, each page of at most so many.
    func all(_ target: String, _ elements: (Answer) -> [String]) async throws -> (pages: Int, found: [String]) {
        var found: [String] = []
        var next: String? = target
        var pages = 0
        while let path = next, pages < 5000 {
            let answer = try await send("GET", path)
            try #require(answer.status == 200, "\(path): \(answer.text)")
            found += elements(answer)
            next = try answer.next()
            pages += 1
        }
        return (pages, found)
    }

    func tags(_ query: String = "") async throws -> [String] {
        try await all("\(root)/tags/list\(query)") { $0.strings("tags") }.found
    }

    /// end-12a, end-12b
    func referrers(of digest: String, _ query: String = "") async throws -> [JSONValue] {
        let answer = try await get("referrers/\(digest)\(query)")
        #expect(answer.status == 200 && answer["Content-Type"] == Manifests.index, "\(answer.text)")
        #expect(answer.json["schemaVersion"] == 2 && answer.json["mediaType"]?.string == Manifests.index)
        return try #require(answer.json["manifests"]?.array)
    }

    private func contentRange(_ offset: Int, _ bytes: [UInt8]) -> [String: String] {
        ["Content-Range": "\(offset)-\(offset + bytes.count - 1)"]
    }
}

extension Answer {
    /// The Location, as a target of a request to the same server.
    func location(sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let text = try #require(self["Location"], sourceLocation: sourceLocation)
        guard let scheme = text.firstRange(of: "://") else { return text }
        return String(text[scheme.upperBound...].drop { $0 != "/" })
    }

    /// What the Link header says comes next.
    func next() throws -> String? {
        guard let link = self["Link"] else { return nil }
        try #require(link.hasPrefix("<") && link.hasSuffix(#">; rel="next""#), "\(link)")
        return String(link.dropFirst().prefix { $0 != ">" })
    }

    func strings(_ member: String) -> [String] { (json[member]?.array ?? []).compactMap(\.string) }
}

/// Manifests to push.
enum Manifests {
    static let oci = "application/vnd.oci.image.manifest.v1+json"
    static let index = "application/vnd.oci.image.index.v1+json"
    static let docker = "application/vnd.docker.distribution.manifest.v2+json"
    static let dockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
    static let config = "application/vnd.oci.image.config.v1+json"
    static let layer = "application/vnd.oci.image.layer.v1.tar+gzip"
    static let nobody = "sha256:" + String(repeating: "0", count: 64)

    static func descriptor(_ digest: String, size: Int = 2, type: String = layer, _ more: String = "") -> String {
        #"{"mediaType":"\#(type)","size":\#(size),"digest":"\#(digest)"\#(more)}"#
    }

    /// An image manifest with white space that a registry must not touch.
    /// - Parameter more: members after the others, each with a comma before it.
    static func image(
        config: String = Manifests.descriptor(nobody, type: config), layers: [String] = [], type: String? = oci,
        _ more: String = ""
    ) -> [UInt8] {
        let type = type.map { #" "mediaType": "\#($0)","# } ?? ""
        return Array(
            (#"{  "schemaVersion" : 2,"# + type
                + "\n\t\"config\":\(config), \"layers\":[\(layers.joined(separator: ", "))]\(more)}\n").utf8)
    }

    static func index(_ manifests: [String], type: String = index, _ more: String = "") -> [UInt8] {
        Array(
            #"{ "schemaVersion":2,"mediaType":"\#(type)", "manifests":[\#(manifests.joined(separator: ","))]\#(more)} "#
                .utf8)
    }

    /// A small manifest that differs from others.
    static func numbered(_ number: Int, _ more: String = "") -> [UInt8] {
        image(#","annotations":{"number":"\#(number)"}\#(more)"#)
    }

    static func image(_ more: String) -> [UInt8] {
        image(config: descriptor(nobody, type: config), layers: [], type: oci, more)
    }

    static func subject(_ digest: String, size: Int = 2, type: String = oci) -> String {
        #","subject":\#(descriptor(digest, size: size, type: type))"#
    }
}
