import Foundation
import TestSupport
import Testing

@Suite("A rootfs with one package upgraded", .serialized)
struct PackageUpgradeTests {
    /// `cistern rootfs diff --json`
    private struct Difference: Decodable {
        let added, removed, upgraded, downgraded, changed: [Change]
        let unchanged: Int

        struct Change: Decodable {
            let name: String
            let from: String?
            let to: String?
        }
    }

    /// `cistern rootfs delta --json`
    private struct Delta: Decodable {
        let layer: Layer
        let rootfsSize: Int

        struct Layer: Decodable { let size: Int }
    }

    @Test("the difference is that package, the delta is small, and the app runs before, after and back again")
    func upgrade() async throws {
        let (before, after) = try await Fixtures.consecutiveRootfs()
        try await withServer(arguments: ["--rootfs-delta", "auto"]) { server in
            func take(_ version: String, _ file: String, _ options: [String]) async throws {
                try await server.cisternSuccessfully(
                    ["rootfs", "import", "--stack", "tiny", "--version", version, "--shell", "/bin/sh", file] + options)
            }
            try await take("1", before, ["--promote"])
            try await take("2", after, [])

            let said = try await server.cisternSuccessfully(["rootfs", "diff", "1", "2", "--stack", "tiny", "--json"])
            let difference = try JSONDecoder().decode(Difference.self, from: Data(said.stdout))
            #expect(difference.upgraded.map(\.name) == ["openssl"])
            let change = try #require(difference.upgraded.first)
            #expect(change.to == change.from.map { $0 + "+cistern1" })
            let others = [difference.added, difference.removed, difference.downgraded, difference.changed]
            #expect(others.allSatisfy(\.isEmpty) && difference.unchanged >= 5, "\(said.output)")

            let computed = try await server.cisternSuccessfully(
                ["rootfs", "delta", "1", "2", "--stack", "tiny", "--json"])
            let delta = try JSONDecoder().decode(Delta.self, from: Data(computed.stdout))
            #expect(delta.layer.size > 0 && delta.layer.size * 10 <= delta.rootfsSize, "\(computed.output)")

            let image = try await server.upload(Fixtures.sample("shell"), guid: "app").image
            try await withClient(Podman.init, server.access()) { podman in
                var trees: [FileTree] = []
                for verb in [[], ["promote", "--version", "2"], ["rollback"]] {
                    if let first = verb.first {
                        try await server.cisternSuccessfully(
                            ["rootfs", first, "--stack", "tiny"] + verb.dropFirst())
                    }
                    try await podman.pull(image)
                    try await checkApp(image, podman)
                    trees.append(try await podman.withFiles(of: image) { try FileTree(of: $0) })
                }
                let names = Set(trees[0].entries.keys).union(trees[1].entries.keys).filter {
                    trees[0].entries[$0]?.content != trees[1].entries[$0]?.content
                }
                let changed = names.map { String(decoding: $0, as: UTF8.self) }.sorted()
                #expect(changed == ["usr/bin/openssl", "var/lib/dpkg/status"])
                #expect(trees[2].differences(from: trees[0]) == [])
            }
        }
    }

    private func checkApp(_ image: String, _ client: some ContainerClient) async throws {
        let port = try freePort()
        try await client.start("web", of: image, environment: ["PORT": "\(port)"], arguments: [])
        let page = try await waitFor("the app's page") { () -> String? in
            let answer = try await run("curl", ["--silent", "--fail", "http://127.0.0.1:\(port)/cgi-bin/facts"])
            return answer.status == 0 ? answer.output : nil
        }
        #expect(page.contains("user 2000:2000"))
        _ = try await client.stop("web")
    }
}
