import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    @Suite("cistern rootfs: rotating", .serialized, .sideBySide)
    struct RotationCommandTests {
        @Test("From import to rollback: each command says what is and what comes next")
        func story() async throws {
            try await World.with(["--stack", "tiny"]) { world in
                func cistern(_ words: String, _ more: String...) async throws -> CommandResult {
                    let arguments = words.split(separator: " ").map(String.init)
                    return try await world.server.cistern(
                        arguments.prefix(2) + ["--stack", "tiny"] + arguments.dropFirst(2) + more)
                }
                func says(_ result: CommandResult, _ words: String..., location: SourceLocation = #_sourceLocation) {
                    #expect(result.status == 0, "\(result.errors)", sourceLocation: location)
                    for word in words {
                        #expect(result.output.contains(word), "\(word): \(result.output)", sourceLocation: location)
                    }
                }
                for version in ["1", "2"] { try await world.server.importTinyRootfs(version: version, promote: false) }
                try await world.upload(Droplet("story"), guid: "app")
                says(try await cistern("rootfs promote --version 1"), "tiny is on 1 now")
                let show = try await cistern("rootfs show")
                says(
                    show, "current       1", "by operator", "before        nothing", "droplets      1",
                    "nothing to go back to")

                says(
                    try await cistern("rootfs deprecate --version 2", "--reason", "two CVEs"),
                    "tiny 2 is deprecated now")
                let warned = try await cistern("rootfs promote --version 2 --expect 1", "--reason", "all the same")
                says(warned, "tiny is on 2 now (was on 1)")
                #expect(warned.errors == "warning: tiny 2 is deprecated: two CVEs")
                let late = try await cistern("rootfs promote --version 1 --expect 1")
                #expect(late.status == 1 && late.errors.contains("all the same") && late.errors.contains("on 2"))
                says(try await cistern("rootfs list"), "STATE", "deprecated", "available")
                says(
                    try await cistern("rootfs show"), "current       2 (deprecated)", "before        1", "all the same",
                    "To go back to 1: `cistern rootfs rollback --stack tiny`")
                says(
                    try await cistern("rootfs show --version 2"), "state         deprecated", "why           two CVEs",
                    "architecture  amd64", "all the same", "droplets      1", "imported")
                let block = try await cistern("rootfs block --version 2 --reason no")
                #expect(block.status == 1 && block.errors.contains("promote another"), "\(block.errors)")
                says(try await cistern("rootfs rollback", "--reason", "it broke"), "tiny is on 1 now (was on 2)")
                let none = try await cistern("rootfs rollback")
                #expect(none.status == 1 && none.errors.contains("nothing before 1"), "\(none.errors)")
                says(try await cistern("rootfs block --version 2 --reason no"), "tiny 2 is blocked now")
                let blocked = try await cistern("rootfs promote --version 2")
                #expect(blocked.status == 1 && blocked.errors.contains("cistern rootfs allow --stack tiny --version 2"))
                says(try await cistern("rootfs allow --version 2"), "tiny 2 is available now")
                let kept = try await cistern("rootfs remove --version 2")
                #expect(kept.status == 1 && kept.errors.contains("--force"), "\(kept.errors)")
                says(try await cistern("rootfs remove --version 2 --force"), "removed")
                #expect(try await cistern("rootfs show --version 2").status == 1)
                for words in ["rootfs block --version 1", "rootfs promote --version 1 --expect", "rootfs promote"] {
                    let usage = try await cistern(words)
                    #expect(usage.status == 2 && usage.output.isEmpty, "\(words): \(usage.output)")
                }
            }
        }

        @Test("The overview has stacks, versions and droplets; redirects that the store can't give are said at start")
        func overview() async throws {
            try await World.with(["--stack", "tiny", "--redirects", "true"]) { world in
                #expect(world.log.contains("this store gives no URLs") && world.log.contains(#""level":"warning""#))
                try await world.server.importTinyRootfs(version: "1")
                for guid in ["a", "b"] { try await world.upload(Droplet(guid), guid: guid) }
                let other = Droplet("other")
                _ = try await world.client.send(
                    "PUT", "/droplets/c/\(other.sha256)?stack=later&arch=arm64", as: "operator", body: other.bytes)
                let overview = try await world.client.get("/api/v1/overview", as: "operator").json
                #expect(overview["droplets"] == 3)
                let stacks = overview["stacks"]?.array ?? []
                #expect(stacks.map { $0["stack"] } == ["later", "tiny"])
                #expect(stacks[0]["droplets"] == ["arm64": 1] && stacks[0]["current"] == .null)
                #expect(stacks[1]["droplets"] == ["amd64": 2] && stacks[1]["current"] == "1")
                let version = stacks[1]["versions"]?.array?.first
                #expect(version?["architectures"] == ["amd64"] && version?["state"] == "available")
            }
            try await World.with(["--stack", "tiny"]) { world in #expect(!world.log.contains("gives no URLs")) }
        }
    }
}
