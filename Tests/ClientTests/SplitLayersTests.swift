import TestSupport
import Testing

@Suite("Split layers on overlayfs", .serialized)
struct SplitLayersTests {
    @Test("two apps with the same dependency share its layer, and their files are those of the droplets")
    func shared() async throws {
        try await withServer(arguments: ["--layers-mode", "split"]) { server in
            try await server.importTinyRootfs()
            let apps = try await ["static", "shell"].asyncMap { name in
                (try await Fixtures.sample(name), try await server.upload(Fixtures.sample(name), guid: name))
            }
            try await withTemporaryDirectory { directory in
                let skopeo = try await Skopeo(server.access(), in: directory)
                let layers = try await apps.asyncMap { try await skopeo.inspect($0.1.image).layers }
                #expect(layers[0].count == 4, "rootfs, lifecycle, deps/0, app")
                #expect(layers[0].dropLast() == layers[1].dropLast(), "all but the app's layer are the same")
                #expect(layers[0].last != layers[1].last)
            }
            try await withClient(Podman.init, server.access()) { podman in
                for (droplet, uploaded) in apps {
                    try await podman.pull(uploaded.image)
                    try await podman.withFiles(of: uploaded.image) { try await check(droplet, in: $0, podman.name) }
                }
            }
            try await withClient(Containerd.init, server.access()) { containerd in
                try await containerd.pull(apps[0].1.image)
                let before = try await containerd.snapshots()
                try await containerd.pull(apps[1].1.image)
                let after = try await containerd.snapshots()
                #expect(after.subtracting(before).count == 1, "the second app brought one layer of its own")
                for (droplet, uploaded) in apps {
                    try await containerd.withFiles(of: uploaded.image) {
                        try await check(droplet, in: $0, containerd.name)
                    }
                }
            }
        }
    }

    @Test("awkward droplets, 12 dependencies included, survive being split")
    func awkward() async throws {
        try await withServer(arguments: ["--layers-mode", "split"]) { server in
            try await server.importTinyRootfs()
            try await withClient(Podman.init, server.access()) { podman in
                for name in ["gnu-posix-sparse-1.0", "bsdtar-pax", "python-gnu", "no-directories", "hardlink-across"] {
                    let droplet = try #require(try await Fixtures.awkward().first { $0.name == name + ".tgz" })
                    let uploaded = try await server.upload(droplet.path, guid: name)
                    try await podman.pull(uploaded.image)
                    try await podman.withFiles(of: uploaded.image) { try await check(droplet.path, in: $0, name) }
                }
            }
        }
    }

    @Test("a hardlink across layers sends the droplet back to a single layer")
    func acrossLayers() async throws {
        try await withServer(arguments: ["--layers-mode", "split"]) { server in
            try await server.importTinyRootfs()
            let droplet = try #require(try await Fixtures.awkward().first { $0.name == "hardlink-across.tgz" })
            let uploaded = try await server.upload(droplet.path, guid: "linked")
            try await withTemporaryDirectory { directory in
                let skopeo = try await Skopeo(server.access(), in: directory)
                #expect(try await skopeo.inspect(uploaded.image).layers.count == 3, "rootfs, lifecycle, droplet")
            }
        }
    }

    private func check(_ droplet: String, in root: String, _ label: String) async throws {
        try await withTemporaryDirectory { directory in
            let expected = try await ExpectedTree(of: droplet, unpackedIn: directory + "/expected")
            let differences = try expected.differences(in: root, earliest: .zero, ignoringDirectoryDates: true)
            #expect(differences == [], "\(label), \(droplet)")
        }
    }
}

extension Sequence {
    fileprivate func asyncMap<Result>(_ transform: (Element) async throws -> Result) async rethrows -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await transform(element)) }
        return results
    }
}
