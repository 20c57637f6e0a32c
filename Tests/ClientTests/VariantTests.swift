import Foundation
import TestSupport
import Testing

@Suite("Versions with several variants, in real clients", .serialized)
struct VariantTests {
    @Test("skopeo copies all of the index, and podman pulls the variant it is asked for, by tag and by digest")
    func clients() async throws {
        try await withTemporaryDirectory { directory in
            let arm64 = try await Fixtures.arm64(in: directory + "/arm64")
            try await withServer(arguments: ["--lifecycle", "arm64=\(arm64.lifecycle)"]) { server in
                try await server.importTinyRootfs()
                try await server.cisternSuccessfully([
                    "rootfs", "import", "--stack", "tiny", "--version", "1", "--shell", "/bin/sh", "--arch", "arm64",
                    arm64.rootfs,
                ])
                let name = server.address + "/cistern/tiny"
                let skopeo = try await Skopeo(server.access(), in: directory)
                try await skopeo.pull(name + ":1", to: "oci:\(directory)/all:all", ["--all"])
                let index = try await runSuccessfully("cat", ["\(directory)/all/index.json"]).output
                #expect(index.contains("application/vnd.oci.image.index.v1+json"))
                let digest = try #require(index.firstMatch(of: /sha256:[0-9a-f]{64}/).map { String($0.output) })
                #expect(FileManager.default.fileExists(atPath: "\(directory)/all/blobs/sha256/\(digest.dropFirst(7))"))
                // As it is, byte by byte: pushed elsewhere it has the same digest.
                try await skopeo.pull("\(name)@\(digest)", to: "dir:\(directory)/digest", ["--all"])
                let manifest = try Data(contentsOf: URL(fileURLWithPath: "\(directory)/digest/manifest.json"))
                let sum = try await runSuccessfully("sha256sum", ["\(directory)/digest/manifest.json"]).output
                #expect(sum.hasPrefix(digest.dropFirst(7)) && !manifest.isEmpty)

                try await withClient(Podman.init, server.access()) { podman in
                    for (architecture, reference) in [("arm64", name + ":1"), ("amd64", "\(name)@\(digest)")] {
                        try await podman.pull(reference, architecture: architecture)
                        #expect(try await podman.architecture(of: reference) == architecture)
                        try await podman.remove(reference)
                    }
                }
            }
        }
    }
}
