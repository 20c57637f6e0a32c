import Foundation
import JSON
import OCI
import TestSupport

/// The tiny rootfs and a second layer over it, as an image that skopeo and umoci made, and what it should be as a tar.
struct RootfsLayout: Sendable {
    let directory: String
    var layout: ImageLayout
    /// The manifest's digest.
    let digest: Digest

    init(in directory: String) async throws {
        self.directory = directory
        let script = """
            set -e; cd "$1"
            gzip -dc "$2" > base.tar
            mkdir -p top/etc top/opt && echo new > top/opt/new && ln top/opt/new top/opt/linked && chmod 4755 top/opt/new
            : > top/etc/.wh.hosts && tar --numeric-owner --owner=0 --group=0 -C top -cf top.tar etc opt
            umoci init --layout umoci && umoci new --image umoci:image
            umoci raw add-layer --image umoci:image base.tar && umoci raw add-layer --image umoci:image top.tar
            umoci config --image umoci:image --architecture amd64
            skopeo copy --quiet oci:umoci:image oci:layout:image
            skopeo copy --quiet oci:umoci:image oci-archive:oci.tar:image
            skopeo copy --quiet oci:umoci:image docker-archive:docker.tar:team/x:1
            gzip -k oci.tar && gzip -k docker.tar
            """
        let file = try await Fixtures.tinyRootfs()
        try await runSuccessfully("bash", ["-c", script, "bash", directory, file], timeout: .seconds(120))
        layout = ImageLayout(at: directory + "/layout")
        let index = try String(contentsOfFile: directory + "/layout/index.json", encoding: .utf8)
        digest = try Digest(parsing: String(index.split(separator: "\"").first { $0.hasPrefix("sha256:") } ?? ""))
    }

    /// Gives the body an image and a server, whose log must hold no secrets.
    static func with(
        _ arguments: [String] = [], _ body: (RootfsLayout, World) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let image = try await RootfsLayout(in: directory)
            try await World.with(arguments) { try await body(image, $0) }
        }
    }
}

extension World {
    /// `cistern rootfs import` of the stack `s`, whose shell is /bin/sh.
    func take(_ version: String, _ arguments: [String]) async throws -> CommandResult {
        try await server.cistern(
            ["rootfs", "import", "--stack", "s", "--version", version, "--shell", "/bin/sh"] + arguments)
    }

    /// The record of a version, as it is told.
    func version(_ version: String) async throws -> JSONValue? {
        try await client.get("/api/v1/rootfs/s/\(version)", as: "operator").json["versions"]?.array?.first
    }
}
