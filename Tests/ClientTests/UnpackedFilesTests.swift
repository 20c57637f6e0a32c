import TestSupport
import Testing

@Suite("Unpacked droplets", .serialized)
struct UnpackedFilesTests {
    @Test("umoci and podman unpack every sample and awkward droplet as GNU tar does")
    func everyDroplet() async throws {
        try await withServer { server in
            try await server.importTinyRootfs()
            let droplets = try await Fixtures.awkward() + Fixtures.samples()
            try #require(droplets.count > 40)
            try await withClient(Podman.init, server.access()) { podman in
                for (number, droplet) in droplets.enumerated() {
                    try await check(droplet, guid: "droplet-\(number)", server, podman)
                }
            }
        }
    }

    private func check(_ droplet: FixtureDroplet, guid: String, _ server: RunningServer, _ podman: Podman) async throws
    {
        try await withTemporaryDirectory { directory in
            let uploaded: UploadedImage
            do {
                uploaded = try await server.upload(droplet.path, guid: guid)
            } catch {
                Issue.record(error, "\(droplet.name): \(droplet.why)")
                return
            }
            let expected = try await ExpectedTree(of: droplet.path, unpackedIn: directory + "/expected")
            let skopeo = try await Skopeo(server.access(), in: directory)
            try await skopeo.copy(uploaded.image, toLayout: directory + "/layout")
            let unpacked = try await Umoci.unpack(layout: directory + "/layout", bundle: directory + "/bundle")
            #expect(try expected.differences(in: unpacked) == [], "umoci, \(droplet.name): \(droplet.why)")

            try await podman.pull(uploaded.image)
            let differences = try await podman.withFiles(of: uploaded.image) {
                try expected.differences(in: $0, earliest: .zero)
            }
            #expect(differences == [], "podman, \(droplet.name): \(droplet.why)")
        }
    }
}
