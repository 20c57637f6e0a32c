import Foundation
import TestSupport
import Testing

/// What oras and cosign do, request by request: neither is in Debian.
@Suite("Artifacts and signatures", .serialized)
struct ArtifactTests {
    private static let manifest = "application/vnd.oci.image.manifest.v1+json"
    private static let empty =
        #"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"\#(emptyDigest)","size":2,"data":"e30="}"#
    private static let emptyDigest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

    @Test("an SBOM is attached to a pushed image, found by its subject and fetched")
    func attached() async throws {
        try await withServer { server in
            try await withTemporaryDirectory { directory in
                let source = try await SourceImage(in: directory)
                let skopeo = try await Skopeo(server.access(as: .operator), in: directory)
                try await skopeo.push("oci:\(source.layout):image", to: "\(server.address)/pushed/app:v1")
                let sbom = Array(#"{"spdxVersion":"SPDX-2.3"}"#.utf8)
                try await attach(sbom, "application/spdx+json", to: source.digest, of: "pushed/app", server)
            }
        }
    }

    @Test("and to a droplet's image, where nothing else can be pushed")
    func attachedToDroplet() async throws {
        try await withServer { server in
            try await server.importTinyRootfs()
            let uploaded = try await server.upload(Fixtures.sample("static"), guid: "site")
            let sbom = Array(#"{"bomFormat":"CycloneDX"}"#.utf8)
            try await attach(
                sbom, "application/vnd.cyclonedx+json", to: uploaded.digest, of: "cloudfoundry/site", server)
            let refused = try await server.request(
                "PUT", "/v2/cloudfoundry/site/manifests/latest", as: .operator,
                headers: ["Content-Type": Self.manifest],
                body: .bytes(Array(#"{"schemaVersion":2,"config":\#(Self.empty),"layers":[]}"#.utf8)))
            #expect(refused.status == 403)
        }
    }

    @Test("a signature in the way of cosign's tags is pushed beside a droplet's image, and copied by skopeo")
    func signature() async throws {
        try await withServer { server in
            try await server.importTinyRootfs()
            let uploaded = try await server.upload(Fixtures.sample("static"), guid: "site")
            let payload = Array(#"{"critical":{"image":{"docker-manifest-digest":"\#(uploaded.digest)"}}}"#.utf8)
            let config = Array(
                #"{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":["\#(try await digest(payload))"]}}"#
                    .utf8)
            for blob in [payload, config] { try await push(blob, to: "cloudfoundry/site", server) }
            let manifest = Array(
                #"{"schemaVersion":2,"mediaType":"\#(Self.manifest)","config":\#(try await descriptor(config, "application/vnd.oci.image.config.v1+json")),"layers":[\#(try await descriptor(payload, "application/vnd.dev.cosign.simplesigning.v1+json", #","annotations":{"dev.cosignproject.cosign/signature":"MEUCIQ=="}"#))]}"#
                    .utf8)
            let tag = uploaded.digest.replacing(":", with: "-") + ".sig"
            let put = try await server.request(
                "PUT", "/v2/cloudfoundry/site/manifests/\(tag)", as: .operator,
                headers: ["Content-Type": Self.manifest],
                body: .bytes(manifest))
            #expect(put.status == 201, "\(String(decoding: put.body, as: UTF8.self))")
            let fetched = try await server.request("GET", "/v2/cloudfoundry/site/manifests/\(tag)")
            #expect(fetched.body == manifest)
            try await withTemporaryDirectory { directory in
                let skopeo = try await Skopeo(server.access(), in: directory)
                #expect(try await skopeo.tags("\(server.address)/cloudfoundry/site").contains(tag))
                try await skopeo.pull(
                    "\(server.address)/cloudfoundry/site:\(tag)", to: "dir:\(directory)/signature",
                    ["--preserve-digests"])
                let copied = FileManager.default.contents(atPath: directory + "/signature/manifest.json").map(
                    Array.init)
                #expect(copied == manifest)
                #expect(try await skopeo.inspect(uploaded.image).digest == uploaded.digest)
            }
        }
    }

    /// As `oras attach` does: content, the empty config, a manifest with the subject; then as `oras discover` and `pull`.
    private func attach(
        _ content: [UInt8], _ type: String, to subject: String, of repository: String, _ server: RunningServer
    ) async throws {
        for blob in [content, Array("{}".utf8)] { try await push(blob, to: repository, server) }
        let subjectSize = try await server.request("GET", "/v2/\(repository)/manifests/\(subject)").body.count
        let manifest = Array(
            #"{"schemaVersion":2,"mediaType":"\#(Self.manifest)","artifactType":"\#(type)","config":\#(Self.empty),"layers":[\#(try await descriptor(content, type, #","annotations":{"org.opencontainers.image.title":"sbom.json"}"#))],"subject":{"mediaType":"\#(Self.manifest)","digest":"\#(subject)","size":\#(subjectSize)},"annotations":{"org.opencontainers.image.created":"2025-01-01T00:00:00Z"}}"#
                .utf8)
        let put = try await server.request(
            "PUT", "/v2/\(repository)/manifests/\(try await digest(manifest))", as: .operator,
            headers: ["Content-Type": Self.manifest], body: .bytes(manifest))
        #expect(put.status == 201, "\(String(decoding: put.body, as: UTF8.self))")
        #expect(put.header("OCI-Subject") == subject)

        struct Index: Decodable {
            struct Entry: Decodable {
                let digest: String
                let artifactType: String
                let annotations: [String: String]
            }
            let manifests: [Entry]
        }
        let path = "/v2/\(repository)/referrers/\(subject)?artifactType=\(type.replacing("+", with: "%2B"))"
        let answer = try await server.request("GET", path)
        #expect(answer.status == 200 && answer.header("OCI-Filters-Applied") == "artifactType")
        let found = try JSONDecoder().decode(Index.self, from: Data(answer.body)).manifests
        #expect(try await found.map(\.digest) == [digest(manifest)])
        #expect(found.first?.artifactType == type)
        #expect(found.first?.annotations["org.opencontainers.image.created"] == "2025-01-01T00:00:00Z")
        let fetched = try await server.request("GET", "/v2/\(repository)/manifests/\(found.first?.digest ?? "")")
        #expect(fetched.body == manifest)
        let blob = try await server.request("GET", "/v2/\(repository)/blobs/\(try await digest(content))")
        #expect(blob.body == content)
    }

    private func push(_ blob: [UInt8], to repository: String, _ server: RunningServer) async throws {
        let begun = try await server.request("POST", "/v2/\(repository)/blobs/uploads/", as: .operator)
        let location = try #require(begun.header("Location"), "\(begun.text)")
        let answer = try await server.request(
            "PUT", "\(location)?digest=\(try await digest(blob))", as: .operator,
            headers: ["Content-Type": "application/octet-stream"], body: .bytes(blob))
        #expect(answer.status == 201, "\(answer.text)")
    }

    private func descriptor(_ content: [UInt8], _ type: String, _ more: String = "") async throws -> String {
        #"{"mediaType":"\#(type)","digest":"\#(try await digest(content))","size":\#(content.count)\#(more)}"#
    }

    private func digest(_ bytes: [UInt8]) async throws -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        return "sha256:" + (try await runSuccessfully("sha256sum", input: text).output.prefix(64))
    }
}
