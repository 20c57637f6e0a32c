import Foundation
import TestSupport
import Testing

@Suite("An image imported as a rootfs", .serialized)
struct ImportedImageTests {
    /// Layers with all that a root filesystem may have in them, and with all that one may do to the one below it.
    private static let make = """
        set -e; cd "$1"
        gzip -dc "$2" > base.tar
        mkdir -p one/opt/away one/opt/opaque/deep one/opt/linked one/var/keep two/opt/opaque two/opt/linked two/etc
        echo a > one/opt/file; echo b > one/opt/away/b; echo c > one/opt/opaque/deep/c; echo d > one/opt/linked/d
        ln one/opt/linked/d one/opt/linked/e; ln -s ../opt/file one/var/link; echo x > one/var/turns
        cp "$3" one/opt/program; chmod 4755 one/opt/program
        cp "$3" one/opt/capable; setcap cap_net_raw+ep one/opt/capable
        chown -R 1234:4321 one/opt/linked; chmod 1777 one/var/keep
        : > two/opt/.wh.away; : > two/opt/opaque/.wh..wh..opq; echo new > two/opt/opaque/new
        echo changed > two/opt/linked/d; mkdir two/var; mkdir two/var/turns; echo y > two/var/turns/y
        echo z > two/opt/z; ln two/opt/z two/opt/z2; ln two/opt/z two/var/z3
        for layer in one two; do
            tar --xattrs --xattrs-include='security.capability' --format=posix --numeric-owner -C "$layer" -cf "$layer.tar" .
        done
        umoci init --layout layout && umoci new --image layout:image
        for layer in base one two; do umoci raw add-layer --image layout:image "$layer.tar"; done
        umoci config --image layout:image --architecture amd64
        """

    @Test("Its files are those that umoci unpacks and podman mounts of the image, one by one", .timeLimit(.minutes(8)))
    func files() async throws {
        try await withServer { server in
            try await withTemporaryDirectory { directory in
                let rootfs = try await Fixtures.tinyRootfs()
                try await runSuccessfully(
                    "bash", ["-c", Self.make, "bash", directory, rootfs, "/bin/busybox"], timeout: .seconds(120))
                let take = ["rootfs", "import", "--stack", "tiny", "--shell", "/bin/sh", "--version"]
                try await server.cisternSuccessfully(take + ["1", "--promote", directory + "/layout"])
                let skopeo = try await Skopeo(server.access(as: .operator), in: directory)
                try await skopeo.copy("\(server.address)/cistern/tiny:1", toLayout: directory + "/imported")

                let expected = try FileTree(
                    of: try await Umoci.unpack(layout: directory + "/layout", bundle: directory + "/expected"))
                let found = try FileTree(
                    of: try await Umoci.unpack(layout: directory + "/imported", bundle: directory + "/found"))
                try Self.expectSame(found, expected, in: "umoci")
                for name in ["program", "capable"] {
                    for bundle in ["expected", "found"] {
                        let file = "\(directory)/\(bundle)/rootfs/opt/\(name)"
                        let shown = try await runSuccessfully("getcap", [file]).output
                        #expect(shown.contains("cap_net_raw") == (name == "capable"), "\(bundle): \(shown)")
                    }
                }
                try await skopeo.push("oci:\(directory)/layout:image", to: "\(server.address)/team/source:1")
                try await withClient(Podman.init, server.access()) { podman in
                    var trees: [FileTree] = []
                    for image in ["team/source:1", "cistern/tiny:1"] {
                        let name = "\(server.address)/\(image)"
                        try await podman.pull(name)
                        trees.append(try await podman.withFiles(of: name) { try FileTree(of: $0) })
                    }
                    try Self.expectSame(trees[1], trees[0], in: "podman")
                }
            }
        }
    }

    /// The root itself is the container's: no layer says anything about it.
    private static func expectSame(_ found: FileTree, _ expected: FileTree, in client: String) throws {
        let root = expected.entries[[]]
        let differences = found.mapped { name, entry in
            if name.isEmpty, let root { entry = root }
        }.differences(from: expected)
        #expect(differences == [], "\(client)")
        #expect(expected.entries[Array("opt/z2".utf8)]?.sameAs == Array("opt/z".utf8), "the test tests something")
        #expect(expected.entries[Array("opt/away".utf8)] == nil)
    }

    @Test("What docker save writes is taken", .timeLimit(.minutes(8)))
    func dockerSave() async throws {
        try await withServer { server in
            try await withTemporaryDirectory { directory in
                let source = try await SourceImage(in: directory)
                let archive = directory + "/saved.tar"
                try await withClient(Docker.init, server.access()) { docker in
                    try await docker.load(source.archive, named: SourceImage.name)
                    try await docker.save(SourceImage.name, to: archive)
                }
                try await server.cisternSuccessfully([
                    "rootfs", "import", "--stack", "tiny", "--version", "1", "--shell", "/bin/sh", archive,
                ])
                try await server.cisternSuccessfully([
                    "rootfs", "import", "--stack", "tiny", "--version", "2", "--shell", "/bin/sh", source.layout,
                ])
                let list = try await server.cisternSuccessfully(["rootfs", "list", "--stack", "tiny", "--json"])
                struct Versions: Decodable {
                    struct Version: Decodable {
                        struct Layer: Decodable { let digest: String }
                        let layers: [Layer]
                        let sourceKind: String
                    }
                    let versions: [Version]
                }
                let versions = try JSONDecoder().decode(Versions.self, from: Data(list.stdout)).versions
                #expect(Set(versions.map(\.sourceKind)) == ["docker", "oci"])
                #expect(Set(versions.flatMap { $0.layers.map(\.digest) }).count == 1, "the same files, the same layer")
            }
        }
    }
}
