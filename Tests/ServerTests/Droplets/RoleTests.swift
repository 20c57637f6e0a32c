import Foundation
import Identity
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("Roles", .serialized, .sideBySide)
    struct RoleTests {
        private struct Row {
            let method: String
            let pattern: String
            let path: String
            let allowed: Set<String>

            init(_ method: String, _ pattern: String, _ path: String, _ allowed: Set<String>) {
                self.method = method
                self.pattern = pattern
                self.path = path
                self.allowed = allowed
            }
        }

        /// Users by their only role; `cluster` is bound to eu-1, and `nobody` has none.
        private static let everybody: Set<String> = ["pull", "push", "stage", "cluster", "operator", "nobody"]

        /// What each user may do: one table for all routes, written down a second time.
        private static let table: [Row] = [
            Row("GET", "/v2/", "/v2/", everybody),
            Row("GET", "/v2/_catalog", "/v2/_catalog", ["pull", "push", "operator"]),
            Row(
                "GET", "/v2/:name/manifests/:reference", "/v2/cloudfoundry/a/manifests/HASH",
                ["pull", "push", "cluster", "operator"]),
            Row(
                "GET", "/v2/:name/manifests/:reference", "/v2/cloudfoundry/a/manifests/sha256:HASH",
                ["pull", "push", "cluster", "operator"]),
            Row("PUT", "/v2/:name/manifests/:reference", "/v2/x/manifests/tag", ["push", "operator"]),
            Row("DELETE", "/v2/:name/manifests/:reference", "/v2/x/manifests/tag", ["push", "operator"]),
            Row(
                "GET", "/v2/:name/blobs/:digest", "/v2/cloudfoundry/a/blobs/sha256:HASH", ["pull", "push", "operator"]),
            Row("DELETE", "/v2/:name/blobs/:digest", "/v2/x/blobs/sha256:HASH", ["push", "operator"]),
            Row("POST", "/v2/:name/blobs/uploads/", "/v2/x/blobs/uploads/", ["push", "operator"]),
            Row("POST", "/v2/:name/blobs/uploads/", "/v2/cloudfoundry/a/blobs/uploads/", ["push", "operator"]),
            Row(
                "GET", "/v2/:name/blobs/uploads/:id", "/v2/x/blobs/uploads/00000000-0000-4000-8000-000000000000",
                ["push", "operator"]),
            Row(
                "PATCH", "/v2/:name/blobs/uploads/:id", "/v2/x/blobs/uploads/00000000-0000-4000-8000-000000000000",
                ["push", "operator"]),
            Row(
                "PUT", "/v2/:name/blobs/uploads/:id", "/v2/x/blobs/uploads/00000000-0000-4000-8000-000000000000",
                ["push", "operator"]),
            Row(
                "DELETE", "/v2/:name/blobs/uploads/:id", "/v2/x/blobs/uploads/00000000-0000-4000-8000-000000000000",
                ["push", "operator"]),
            Row("GET", "/v2/:name/tags/list", "/v2/cloudfoundry/a/tags/list", ["pull", "push", "operator"]),
            Row(
                "GET", "/v2/:name/referrers/:digest", "/v2/cloudfoundry/a/referrers/sha256:HASH",
                ["pull", "push", "operator"]),
            Row("GET", "/sign/**", "/sign/droplets/a/HASH?verb=put", ["stage", "operator"]),
            Row("GET", "/sign/**", "/sign/droplets/a/HASH?verb=get", ["pull", "push", "operator"]),
            Row("PUT", "/droplets/:guid", "/droplets/a", ["stage", "operator"]),
            Row("PUT", "/droplets/:guid/:hash", "/droplets/a/HASH", ["stage", "operator"]),
            Row("GET", "/droplets/:guid/:hash", "/droplets/a/HASH", ["pull", "push", "operator"]),
            Row("HEAD", "/droplets/:guid/:hash", "/droplets/a/HASH", ["pull", "push", "operator"]),
            Row("DELETE", "/droplets/:guid/:hash", "/droplets/b/HASH", ["operator"]),
            Row("PUT", "/packages/:guid", "/packages/a", ["stage", "operator"]),
            Row("GET", "/packages/:guid", "/packages/a", ["stage", "operator"]),
            Row("DELETE", "/packages/:guid", "/packages/none", ["operator"]),
            Row("GET", "/buildpacks", "/buildpacks", ["stage", "operator"]),
            Row("POST", "/buildpacks", "/buildpacks", ["operator"]),
            Row("POST", "/buildpacks/", "/buildpacks/", ["operator"]),
            Row("PUT", "/buildpacks/:guid", "/buildpacks/a", ["operator"]),
            Row("GET", "/buildpacks/:guid", "/buildpacks/a", ["stage", "operator"]),
            Row("GET", "/buildpacks/:guid/metadata", "/buildpacks/a/metadata", ["stage", "operator"]),
            Row("DELETE", "/buildpacks/:guid", "/buildpacks/none", ["operator"]),
            Row(
                "PUT", "/buildpack_cache/entries/:guid/:stack", "/buildpack_cache/entries/a/tiny",
                ["stage", "operator"]),
            Row(
                "GET", "/buildpack_cache/entries/:guid/:stack", "/buildpack_cache/entries/a/tiny",
                ["stage", "operator"]),
            Row(
                "DELETE", "/buildpack_cache/entries/:guid/:stack", "/buildpack_cache/entries/none/tiny",
                ["operator"]),
            Row("DELETE", "/buildpack_cache/entries/:guid", "/buildpack_cache/entries/none", ["operator"]),
            Row("DELETE", "/buildpack_cache/entries", "/buildpack_cache/entries", ["operator"]),
            Row("DELETE", "/buildpack_cache/entries/", "/buildpack_cache/entries/", ["operator"]),
            Row("POST", "/app_stash/matches", "/app_stash/matches", ["stage", "operator"]),
            Row("POST", "/app_stash/entries", "/app_stash/entries", ["stage", "operator"]),
            Row("POST", "/app_stash/bundles", "/app_stash/bundles", ["stage", "operator"]),
            Row("POST", "/stage/:guid", "/stage/a", ["stage", "operator"]),
            Row("PUT", "/stage/:guid/completed", "/stage/a/completed", ["stage", "operator"]),
            Row("GET", "/stage/:guid", "/stage/a", ["stage", "operator"]),
            Row("GET", "/stage/:guid/log", "/stage/a/log", ["stage", "operator"]),
            Row("DELETE", "/stage/:guid", "/stage/a", ["stage", "operator"]),
            Row("GET", "/api/v1/openapi.json", "/api/v1/openapi.json", everybody),
            Row("GET", "/api/v1/pins", "/api/v1/pins", ["operator"]),
            Row("POST", "/api/v1/pins/:cluster", "/api/v1/pins/eu-1", ["cluster", "operator"]),
            Row("POST", "/api/v1/pins/:cluster", "/api/v1/pins/eu-2", ["operator"]),
            Row("GET", "/api/v1/pins/:cluster", "/api/v1/pins/eu-1", ["cluster", "operator"]),
            Row("GET", "/api/v1/pins/:cluster", "/api/v1/pins/eu-2", ["operator"]),
            Row("DELETE", "/api/v1/pins/:cluster", "/api/v1/pins/eu-1", ["cluster", "operator"]),
            Row("DELETE", "/api/v1/pins/:cluster", "/api/v1/pins/eu-2", ["operator"]),
            Row("GET", "/api/v1/clusters", "/api/v1/clusters", ["operator"]),
            // Its answer to GET does not end.
            Row("HEAD", "/api/v1/events", "/api/v1/events", ["operator"]),
            // For a cluster's agent alone.
            Row("POST", "/api/v1/clusters/:cluster/credential", "/api/v1/clusters/eu-1/credential", []),
            Row("PUT", "/api/v1/clusters/:cluster", "/api/v1/clusters/other", ["operator"]),
            Row("GET", "/api/v1/clusters/:cluster", "/api/v1/clusters/eu-1", ["cluster", "operator"]),
            Row("GET", "/api/v1/clusters/:cluster", "/api/v1/clusters/eu-2", ["operator"]),
            Row("DELETE", "/api/v1/clusters/:cluster", "/api/v1/clusters/eu-2", ["operator"]),
            Row("PUT", "/api/v1/clusters/:cluster/state", "/api/v1/clusters/eu-1/state", ["cluster", "operator"]),
            Row("PUT", "/api/v1/clusters/:cluster/state", "/api/v1/clusters/eu-2/state", ["operator"]),
            Row("GET", "/api/v1/droplets", "/api/v1/droplets", ["operator"]),
            Row("GET", "/api/v1/droplets/:guid", "/api/v1/droplets/a", ["operator"]),
            Row("GET", "/api/v1/droplets/:guid/:hash", "/api/v1/droplets/a/HASH", ["operator"]),
            Row("GET", "/api/v1/rootfs", "/api/v1/rootfs", ["operator"]),
            Row("GET", "/api/v1/rootfs/:stack", "/api/v1/rootfs/tiny", ["operator"]),
            Row("GET", "/api/v1/rootfs/:stack/current", "/api/v1/rootfs/tiny/current", ["operator"]),
            Row("PUT", "/api/v1/rootfs/:stack/current", "/api/v1/rootfs/tiny/current", ["operator"]),
            Row("POST", "/api/v1/rootfs/:stack/rollback", "/api/v1/rootfs/tiny/rollback", ["operator"]),
            Row("GET", "/api/v1/rootfs/:stack/:version", "/api/v1/rootfs/tiny/9", ["operator"]),
            Row("PUT", "/api/v1/rootfs/:stack/:version", "/api/v1/rootfs/tiny/9", ["operator"]),
            Row("DELETE", "/api/v1/rootfs/:stack/:version", "/api/v1/rootfs/tiny/9", ["operator"]),
            Row("PUT", "/api/v1/rootfs/:stack/:version/state", "/api/v1/rootfs/tiny/9/state", ["operator"]),
            Row("GET", "/api/v1/rootfs/:stack/:version/export", "/api/v1/rootfs/tiny/9/export", ["operator"]),
            Row("GET", "/api/v1/rootfs/:stack/:version/prepull", "/api/v1/rootfs/tiny/9/prepull", ["operator"]),
            Row("GET", "/api/v1/rootfs/:stack/:version/packages", "/api/v1/rootfs/tiny/9/packages", ["operator"]),
            Row("GET", "/api/v1/rootfs/:stack/:version/diff", "/api/v1/rootfs/tiny/9/diff", ["operator"]),
            Row("GET", "/api/v1/rootfs/:stack/:version/delta", "/api/v1/rootfs/tiny/9/delta", ["operator"]),
            Row("POST", "/api/v1/rootfs/:stack/:version/delta", "/api/v1/rootfs/tiny/9/delta", ["operator"]),
            Row("GET", "/api/v1/gc", "/api/v1/gc", ["operator"]),
            Row("POST", "/api/v1/gc", "/api/v1/gc", ["operator"]),
            Row("GET", "/api/v1/verify", "/api/v1/verify", ["operator"]),
            Row("POST", "/api/v1/verify", "/api/v1/verify", ["operator"]),
            Row("GET", "/api/v1/usage", "/api/v1/usage", ["operator"]),
            Row("POST", "/api/v1/usage", "/api/v1/usage", ["operator"]),
            Row("GET", "/api/v1/operations", "/api/v1/operations", ["operator"]),
            Row("GET", "/api/v1/operations/:id", "/api/v1/operations/none", ["operator"]),
            Row("POST", "/api/v1/operations/:id/cancel", "/api/v1/operations/none/cancel", ["operator"]),
            Row("GET", "/api/v1/overview", "/api/v1/overview", ["operator"]),
        ]

        @Test("Every route of the table of roles and routes is among those that are tried")
        func complete() {
            let tried = Set(Self.table.map { "\($0.method == "HEAD" ? "GET" : $0.method) \($0.pattern)" })
            let open: Set<String> = ["GET /healthz", "GET /readyz", "* /v2/**", "GET /token", "POST /token"]
            #expect(tried.union(open) == Set(AccessTable.cistern.rows.map { "\($0.method) \($0.pattern)" }))
        }

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
                for (user, role) in [
                    ("push", ["push"]), ("stage", ["stage"]), ("cluster", ["cluster", "--cluster", "eu-1"]),
                    ("nobody", ["pull"]),
                ] {
                    let password = "a password of \(user)"
                    let added = try await run(
                        "cistern", ["user", "add", "--data", data, "--role"] + role + [user], input: password + "\n")
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
            _ row: Row, _ droplet: Droplet, _ client: Client
        ) async throws {
            let path = row.path.replacing("HASH", with: droplet.sha256)
            let isUpload = row.method == "PUT" && path.hasPrefix("/droplets")
            for user in everybody.sorted() {
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
