import Foundation
import TestSupport
import Testing

@Suite("Deltas in real clients", .serialized)
struct DeltaLayersTests {
    /// Changes of every kind, made to the tiny rootfs.
    private static let changes = """
        set -eu
        mkdir "$1/tree"; tar -xzpf "$0" --numeric-owner -C "$1/tree"; cd "$1/tree"
        mkdir -p srv/gone/deep srv/turns/in srv/stays; echo 1 > srv/gone/deep/file; echo 2 > srv/turns/in/file
        echo 3 > srv/file; ln srv/file srv/other; ln -s file srv/link; echo 4 > srv/stays/same; echo 5 > srv/stays/old
        echo 6 > srv/one; ln srv/one srv/two
        tar -czpf "$1/1.tar.gz" --numeric-owner .
        rm -r srv/gone srv/turns srv/link srv/stays/old; ln -s stays srv/turns; mkdir srv/link; echo 7 > srv/link/file
        echo 8 >> srv/file; ln srv/file srv/third; rm srv/two; echo 6 > srv/two; chmod 4711 srv/one
        chown 5:6 srv/stays; touch -d @1000 srv/stays/same; printf 9 > "srv/a b"; mkdir -m 1777 srv/empty
        tar -czpf "$1/2.tar.gz" --numeric-owner .
        """

    @Test("an image with a delta has the same files as one without, and brings one layer to a node that ran the app")
    func same() async throws {
        try await withTemporaryDirectory { directory in
            let tiny = try await Fixtures.tinyRootfs()
            try await runSuccessfully("sh", ["-c", Self.changes, tiny, directory])
            let auto = try await files(directory, ["--rootfs-delta", "auto", "--rootfs-delta-percent", "50"])
            let off = try await files(directory, [])
            #expect(auto.layers == 4 && off.layers == 3, "rootfs, lifecycle, droplet, delta")
            for (name, tree) in auto.trees {
                let names = Set(tree.entries.keys).union(off.trees[name]?.entries.keys ?? [:].keys)
                let differences = names.filter { !$0.isEmpty && tree.entries[$0] != off.trees[name]?.entries[$0] }
                #expect(differences.map { String(decoding: $0, as: UTF8.self) }.sorted() == [], "\(name)")
            }
            #expect(auto.trees.count == 4 && auto.newSnapshots == 1 && off.newSnapshots > 1)
            for client in ["containerd", "docker"] {
                let delta = auto.documents.union([auto.top])
                #expect(auto.fetched[client] == delta, "\(client): manifest, config and the delta")
                let whole = off.fetched[client] ?? []
                #expect(whole.isSuperset(of: off.documents.union([off.bottom])), "\(client): without it the new rootfs")
            }
        }
    }

    private struct Found {
        var layers = 0
        var trees: [String: FileTree] = [:]
        /// What containerd made for the app on the new rootfs, which had it on the old one.
        var newSnapshots = 0
        /// What clients fetched for that, by the server's log.
        var fetched: [String: Set<String>] = [:]
        /// The image's manifest and config, as they stand in the log.
        var documents: Set<String> = []
        /// The layer on top: the delta, or the droplet's.
        var top = ""
        /// The rootfs.
        var bottom = ""
    }

    private struct Manifest: Decodable {
        let config: Descriptor

        struct Descriptor: Decodable { let digest: String }
    }

    private func files(_ directory: String, _ arguments: [String]) async throws -> Found {
        try await withServer(arguments: arguments) { server in
            func take(_ version: String) async throws {
                try await server.cisternSuccessfully([
                    "rootfs", "import", "--stack", "tiny", "--version", version, "--shell", "/bin/sh", "--promote",
                    "\(directory)/\(version).tar.gz",
                ])
            }
            var found = Found()
            try await take("1")
            let image = try await server.upload(Fixtures.sample("static"), guid: "app").image
            try await withClient(Containerd.init, server.access()) { containerd in
                try await containerd.pull(image)
                let before = try await containerd.snapshots()
                try await withClient(Docker.init, server.access()) { docker in
                    try await docker.pull(image)
                    try await take("2")
                    let log = try RequestLog(of: server)
                    try await docker.pull(image)
                    found.fetched["docker"] = Set(try log.fetched(by: "app"))
                    found.trees["docker"] = try await docker.tree(of: image)
                }
                let log = try RequestLog(of: server)
                try await containerd.pull(image)
                found.fetched["containerd"] = Set(try log.fetched(by: "app"))
                found.newSnapshots = try await containerd.snapshots().subtracting(before).count
                found.trees["containerd"] = try await containerd.withFiles(of: image) { try FileTree(of: $0) }
            }
            try await withClient(Podman.init, server.access()) { podman in
                try await podman.pull(image)
                found.trees["podman"] = try await podman.withFiles(of: image) { try FileTree(of: $0) }
            }
            try await withTemporaryDirectory { scratch in
                let skopeo = try await Skopeo(server.access(), in: scratch)
                let inspection = try await skopeo.inspect(image)
                found.layers = inspection.layers.count
                found.top = "blobs/" + (inspection.layers.last ?? "")
                found.bottom = "blobs/" + (inspection.layers.first ?? "")
                let path = image.replacing("\(server.address)/cloudfoundry/app:", with: "")
                let answer = try await server.request(
                    "GET", "/v2/cloudfoundry/app/manifests/\(path)",
                    headers: ["Accept": "application/vnd.oci.image.manifest.v1+json"])
                let manifest = try JSONDecoder().decode(Manifest.self, from: Data(answer.body))
                found.documents = ["manifests/\(inspection.digest)", "blobs/\(manifest.config.digest)"]
                try await skopeo.copy(image, toLayout: scratch + "/layout")
                let unpacked = try await Umoci.unpack(layout: scratch + "/layout", bundle: scratch + "/bundle")
                found.trees["umoci"] = try FileTree(of: unpacked)
            }
            return found
        }
    }
}
