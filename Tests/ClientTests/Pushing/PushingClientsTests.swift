import Foundation
import TestSupport
import Testing

@Suite("Images pushed by real clients", .serialized)
struct PushingClientsTests {
    @Test("skopeo pushes an image of umoci's, and what comes back is the same to the byte")
    func skopeo() async throws {
        try await withServer { server in
            try await withTemporaryDirectory { directory in
                let source = try await SourceImage(in: directory)
                let skopeo = try await Skopeo(server.access(as: .operator), in: directory)
                let image = "\(server.address)/pushed/umoci:v1"
                try await skopeo.push("oci:\(source.layout):image", to: image)
                #expect(try await server.digest("pushed/umoci", "v1") == source.digest)
                #expect(try await skopeo.tags("\(server.address)/pushed/umoci") == ["v1"])

                // As a user who may only pull.
                let reader = try await Skopeo(server.access(as: .pull), in: directory)
                for (reference, name) in [
                    (image, "tag"), ("\(server.address)/pushed/umoci@\(source.digest)", "digest"),
                ] {
                    let layout = "\(directory)/\(name)"
                    try await reader.copy(reference, toLayout: layout)
                    #expect(try await SourceImage.digest(inLayout: layout) == source.digest)
                    #expect(
                        try SourceImage.blobs(inLayout: layout).isSubset(of: SourceImage.blobs(inLayout: source.layout))
                    )
                }
                await #expect(throws: CommandError.self) {
                    try await reader.push("oci:\(source.layout):image", to: image)
                }

                // Once more elsewhere: its blobs are mounted or found, not sent.
                try await skopeo.push("oci:\(source.layout):image", to: "\(server.address)/pushed/again:v1")
                #expect(try await server.digest("pushed/again", "v1") == source.digest)

                try await skopeo.delete(image)
                #expect(try await server.digest("pushed/umoci", "v1") == nil)
                #expect(try await server.digest("pushed/again", "v1") == source.digest)
            }
        }
    }

    @Test("skopeo pushes in every format and compression", arguments: ["oci", "v2s2"], ["gzip", "zstd", "none"])
    func formats(format: String, compression: String) async throws {
        // Docker's format has no zstd.
        if format == "v2s2", compression == "zstd" { return }
        try await withServer { server in
            try await withTemporaryDirectory { directory in
                let source = try await SourceImage(in: directory)
                let skopeo = try await Skopeo(server.access(as: .operator), in: directory)
                let image = "\(server.address)/pushed/formats:v1"
                // A layout with the layers as they are to be sent: a registry's own choice is gzip.
                let sent = "\(directory)/sent"
                try await runSuccessfully(
                    "skopeo",
                    ["copy", "--quiet", "--format", format]
                        + (compression == "none"
                            ? ["--dest-decompress"] : ["--dest-compress", "--dest-compress-format", compression])
                        + ["oci:\(source.layout):image", "dir:\(sent)"])
                try await skopeo.push("dir:\(sent)", to: image, ["--preserve-digests"])
                let digest = try #require(try await server.digest("pushed/formats", "v1"))
                #expect(try await sha256(sent + "/manifest.json") == digest)
                try await skopeo.pull(image, to: "dir:\(directory)/back", ["--preserve-digests"])
                try await runSuccessfully("diff", ["--recursive", sent, directory + "/back"])
            }
        }
    }

    @Test("an index goes with all its images, as OCI's and as Docker's")
    func index() async throws {
        try await withServer { server in
            try await withTemporaryDirectory { directory in
                let source = try await SourceImage(in: directory)
                let skopeo = try await Skopeo(server.access(as: .operator), in: directory)
                for (format, type, inner) in [
                    ("oci", "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"),
                    (
                        "v2s2", "application/vnd.docker.distribution.manifest.list.v2+json",
                        "application/vnd.docker.distribution.manifest.v2+json"
                    ),
                ] {
                    let repository = "pushed/index-\(format)"
                    let one = "\(server.address)/\(repository):one"
                    try await skopeo.push("oci:\(source.layout):image", to: one, ["--format", format])
                    let digest = try #require(try await server.digest(repository, "one"))
                    let size = try await server.request("GET", "/v2/\(repository)/manifests/one").body.count
                    let entries = ["amd64", "arm64"].map { architecture in
                        #"{"mediaType":"\#(inner)","digest":"\#(digest)","size":\#(size),"#
                            + #""platform":{"os":"linux","architecture":"\#(architecture)"}}"#
                    }
                    let index =
                        #"{"schemaVersion":2,"mediaType":"\#(type)","manifests":[\#(entries.joined(separator: ","))]}"#
                    let put = try await server.request(
                        "PUT", "/v2/\(repository)/manifests/all", as: .operator, headers: ["Content-Type": type],
                        body: .bytes(Array(index.utf8)))
                    #expect(put.status == 201)
                    let copy = "dir:\(directory)/\(format)"
                    try await skopeo.pull(
                        "\(server.address)/\(repository):all", to: copy, ["--all", "--preserve-digests"])
                    try await skopeo.push(
                        copy, to: "\(server.address)/\(repository)-copy:all", ["--all", "--preserve-digests"])
                    let copied = try await server.digest(repository + "-copy", "all")
                    #expect(copied == put.header("Docker-Content-Digest"))
                }
            }
        }
    }

    @Test("podman pushes, and pulls back what it pushed") func podman() async throws { try await check(Podman.init) }

    @Test("docker pushes, and pulls back what it pushed") func docker() async throws { try await check(Docker.init) }

    @Test("containerd pushes, and pulls back what it pushed") func containerd() async throws {
        try await check(Containerd.init)
    }

    private func check(_ make: (RegistryAccess, String) async throws -> some ContainerClient) async throws {
        try await withServer { server in
            try await withTemporaryDirectory { directory in
                let source = try await SourceImage(in: directory)
                try await withClient(make, server.access(as: .operator)) { client in
                    try await client.load(source.archive, named: SourceImage.name)
                    let identity = try await client.identity(of: SourceImage.name)
                    // The second repository gets layers that the registry has already.
                    let images = ["one", "two"].map { "\(server.address)/pushed/\(client.name)-\($0):v1" }
                    for image in images {
                        try await client.tag(SourceImage.name, as: image)
                        try await client.push(image)
                        try await client.push(image)
                    }
                    for image in images + [SourceImage.name] { try await client.remove(image) }
                    for image in images {
                        let repository = String(image.dropFirst(server.address.count + 1).dropLast(3))
                        let digest = try #require(try await server.digest(repository, "v1"), "\(client.name)")
                        try await client.pull(image)
                        #expect(try await client.identity(of: image) == identity, "\(client.name)")
                        let byDigest = "\(server.address)/\(repository)@\(digest)"
                        try await client.pull(byDigest)
                        #expect(try await client.identity(of: byDigest) == identity, "\(client.name), by digest")
                    }
                    #expect(
                        try await server.digest("pushed/\(client.name)-one", "v1")
                            == server.digest("pushed/\(client.name)-two", "v1"))
                    try await client.start(
                        "runs", of: images[1], environment: [:],
                        arguments: ["/bin/sh", "-c", "trap 'exit 0' TERM; echo it runs; while :; do sleep 0.1; done"])
                    try await waitUntil("the container's output") { try await client.output(of: "runs") == "it runs" }
                    _ = try await client.stop("runs")
                }
            }
        }
    }

    @Test("buildah pushes an image made from scratch, and pulls back what it pushed", arguments: ["oci", "v2s2"])
    func buildah(format: String) async throws {
        try await withServer { server in
            try await withTemporaryDirectory { directory in
                let buildah = try await Buildah(server.access(as: .operator), in: directory)
                try "from scratch".write(toFile: directory + "/file", atomically: true, encoding: .utf8)
                let image = "\(server.address)/pushed/scratch:\(format)"
                try await buildah.build(image, file: directory + "/file", format: format == "oci" ? "oci" : "docker")
                let identity = try await buildah.identity(of: image)
                let digest = try await buildah.push(image, format: format)
                #expect(try await server.digest("pushed/scratch", format) == digest)
                try await buildah.remove(image)
                try await buildah.pull(image)
                #expect(try await buildah.identity(of: image) == identity)
            }
        }
    }

    private func sha256(_ file: String) async throws -> String {
        "sha256:" + (try await runSuccessfully("sha256sum", [file]).output.prefix(64))
    }
}
