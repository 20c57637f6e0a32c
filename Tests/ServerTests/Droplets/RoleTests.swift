import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Roles", .serialized, .sideBySide)
    struct RoleTests {
        /// What each user may do, by the status of the answer: one table for all routes.
        private static let table: [(method: String, path: String, allowed: Set<String>)] = [
            ("GET", "/v2/", ["pull", "push", "stage", "operator", "nobody"]),
            ("GET", "/v2/cloudfoundry/a/manifests/HASH", ["pull", "push", "operator"]),
            ("GET", "/v2/cloudfoundry/a/tags/list", ["pull", "push", "operator"]),
            ("GET", "/v2/_catalog", ["pull", "push", "operator"]),
            ("GET", "/v2/cloudfoundry/a/referrers/sha256:HASH", ["pull", "push", "operator"]),
            ("POST", "/v2/x/blobs/uploads/", ["push", "operator"]),
            ("POST", "/v2/cloudfoundry/a/blobs/uploads/", ["push", "operator"]),
            ("PATCH", "/v2/x/blobs/uploads/00000000-0000-4000-8000-000000000000", ["push", "operator"]),
            ("PUT", "/v2/x/manifests/tag", ["push", "operator"]),
            ("DELETE", "/v2/x/manifests/tag", ["push", "operator"]),
            ("DELETE", "/v2/x/blobs/sha256:HASH", ["push", "operator"]),
            ("PUT", "/droplets/a/HASH", ["stage", "operator"]),
            ("GET", "/droplets/a/HASH", ["stage", "operator"]),
            ("HEAD", "/droplets/a/HASH", ["stage", "operator"]),
            ("DELETE", "/droplets/b/HASH", ["stage", "operator"]),
            ("GET", "/api/v1/droplets", ["operator"]), ("GET", "/api/v1/droplets/a", ["operator"]),
            ("GET", "/api/v1/rootfs", ["operator"]), ("GET", "/api/v1/rootfs/tiny/current", ["operator"]),
            ("GET", "/api/v1/overview", ["operator"]), ("POST", "/api/v1/rootfs/tiny/rollback", ["operator"]),
            ("PUT", "/api/v1/rootfs/tiny/9/state", ["operator"]), ("DELETE", "/api/v1/rootfs/tiny/9", ["operator"]),
            ("GET", "/api/v1/rootfs/tiny/9/export", ["operator"]),
            ("GET", "/api/v1/rootfs/tiny/9/prepull", ["operator"]),
            ("GET", "/api/v1/openapi.json", ["pull", "push", "stage", "operator", "nobody"]),
            ("PUT", "/api/v1/rootfs/tiny/current", ["operator"]), ("PUT", "/api/v1/rootfs/tiny/9", ["operator"]),
        ]

        @Test("Everybody may do what the role says, and gets 403 for the rest; nobody anonymous may do anything")
        func roles() async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                let droplet = Droplet("roles")
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    try await world.server.importTinyRootfs()
                    try await world.upload(droplet, guid: "a")
                }
                // A user without a role is one that the policy does not name.
                for (user, role) in [("push", "push"), ("stage", "stage"), ("nobody", "pull")] {
                    let password = "a password of \(user)"
                    let added = try await run(
                        "cistern", ["user", "add", "--data", data, "--role", role, user], input: password + "\n")
                    #expect(added.status == 0, "\(added.errors)")
                    try Data(password.utf8).write(to: URL(fileURLWithPath: "\(data)/secrets/\(user).password"))
                }
                let policy = URL(fileURLWithPath: data + "/policy.yaml")
                let lines = try String(contentsOf: policy, encoding: .utf8).split(
                    separator: "\n", omittingEmptySubsequences: false)
                let at = try #require(lines.firstIndex { $0.contains("nobody") })
                try Data((lines[..<at] + lines[(at + 2)...]).joined(separator: "\n").utf8).write(to: policy)
                try await World.with(data: data, ["--stack", "tiny"]) { world in
                    for row in Self.table { try await Self.check(row, droplet, world.client) }
                    let image = try await Image(droplet.sha256, of: "cloudfoundry/a", from: world.client)
                    try await image.verifyLayers(from: world.client)
                }
            }
        }

        private static func check(
            _ row: (method: String, path: String, allowed: Set<String>), _ droplet: Droplet, _ client: Client
        ) async throws {
            let path = row.path.replacing("HASH", with: droplet.sha256)
            let isUpload = row.method == "PUT" && path.hasPrefix("/droplets")
            for user in ["pull", "push", "stage", "operator", "nobody"] {
                if path.hasPrefix("/droplets/b") {
                    let answer = try await client.send("PUT", path, as: "operator", body: droplet.bytes)
                    #expect(answer.status == 201)
                }
                let body: [UInt8]? = isUpload ? droplet.bytes : row.method == "PUT" ? [] : nil
                let answer = try await client.send(row.method, path, as: user, body: body)
                if row.allowed.contains(user) {
                    #expect(![401, 403].contains(answer.status), "\(user): \(row.method) \(path)")
                } else {
                    #expect(answer.status == 403, "\(user): \(row.method) \(path)")
                    #expect(answer["WWW-Authenticate"] == nil, "logging in again would not help")
                    if path.hasPrefix("/v2"), row.method != "HEAD" { #expect(answer.registryCode == "DENIED") }
                }
            }
            let anonymous = try await client.send(row.method, path, as: nil, body: isUpload ? droplet.bytes : nil)
            #expect(anonymous.status == 401 && anonymous["WWW-Authenticate"] != nil)
        }
    }
}
