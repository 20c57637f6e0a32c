import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("cistern rootfs import of images", .serialized, .sideBySide)
    struct ImportSourcesTests {
        @Test("A layout, archives of skopeo's and another registry's image all give the same rootfs")
        func sources() async throws {
            try await RootfsLayout.with { image, world in
                let password = world.server.passwordFile(of: .operator)
                let name = "\(world.server.address)/team/x"
                let push = """
                    skopeo copy --quiet --dest-cert-dir "$1" --dest-creds "operator:$(cat "$2")" "oci:$3:image" "docker://$4:1"
                    """
                try await runSuccessfully("mkdir", [image.directory + "/certificates"])
                try await runSuccessfully(
                    "cp", [world.server.certificateAuthority, image.directory + "/certificates/ca.crt"])
                try await runSuccessfully(
                    "bash",
                    [
                        "-c", push, "bash", image.directory + "/certificates", password, image.directory + "/layout",
                        name,
                    ])
                let remote = "docker://\(name)@\(image.digest)"
                let access = [
                    "--source-user", "operator", "--source-password-file", password, "--source-ca",
                    world.server.certificateAuthority,
                ]
                let sources: [(version: String, arguments: [String], kind: String, name: String)] = [
                    ("1", ["layout"], "oci", "layout"), ("2", ["oci.tar"], "oci", "oci.tar"),
                    ("3", ["oci.tar.gz"], "oci", "oci.tar.gz"), ("4", ["docker.tar"], "docker", "docker.tar"),
                    ("5", ["docker.tar.gz"], "docker", "docker.tar.gz"), ("6", access + [remote], "registry", remote),
                ]
                var layers: Set<JSONValue> = []
                for source in sources {
                    var arguments = source.arguments
                    if source.kind != "registry" { arguments[0] = "\(image.directory)/\(arguments[0])" }
                    let result = try await world.take(source.version, arguments)
                    #expect(result.status == 0, "\(source): \(result.errors)")
                    let version = try #require(try await world.version(source.version))
                    #expect(
                        version["sourceKind"]?.string == source.kind && version["sourceName"]?.string == source.name)
                    if source.kind != "docker" {
                        #expect(version["source"]?.string == image.digest.description)
                        #expect(result.output.contains(image.digest.description))
                    }
                    layers.insert(version["layers"] ?? .null)
                }
                #expect(layers.count == 1, "the same files in the same layer: \(layers)")
                let shown = try await world.server.cisternSuccessfully([
                    "rootfs", "show", "--stack", "s", "--version", "6",
                ])
                #expect(shown.output.contains("from          \(remote)"))
                #expect(shown.output.contains("Cistern tiny"))
            }
        }

        @Test("What can't be taken is refused with what to do, and nothing is sent or kept")
        func refused() async throws {
            try await RootfsLayout.with { image, world in
                let objects = try await world.objectsAtRest()
                let other = "sha256:" + String(repeating: "0", count: 64)
                let layout = image.directory + "/layout"
                for (arguments, words) in [
                    (["docker://127.0.0.1:1/team/x:1"], "skopeo inspect"), (["docker://127.0.0.1:1/team/x"], "digest"),
                    (["docker://127.0.0.1:1/team/x@\(other)"], "nothing listens"),
                    (["docker://\(world.server.address)/team/x@\(other)"], "--source-ca"),
                    (["--digest", other, layout], "there is no image \(other)"),
                    (["--digest", other, image.directory + "/base.tar"], "it is no image"),
                    (["--sha256", String(repeating: "0", count: 64), layout], "--sha256 is for a file"),
                    (["--arch", "arm64", layout], "no image for linux/arm64"),
                    (["--plain-http", layout], "docker://"),
                    (["--source-user", "x", "docker://h/a@\(other)"], "go together"),
                ] {
                    let result = try await world.take("1", arguments)
                    #expect(result.status != 0 && result.errors.contains(words), "\(arguments): \(result.errors)")
                }
                #expect(try await world.objectsAtRest() == objects)
            }
        }

        @Test("A registry's tokens and credentials are used, and are in no output, log or process list")
        func tokens() async throws {
            try await RootfsLayout.with(["--log-level", "trace"]) { image, world in
                let file = image.directory + "/password"
                try Data("other secret\n".utf8).write(to: URL(fileURLWithPath: file))
                try await OtherRegistry.with(image.layout, ["--user=me:other secret", "redirect", "cut"]) { registry in
                    let remote = "docker://\(registry.address)/team/x@\(image.digest)"
                    let good = try await world.take(
                        "1", ["--plain-http", "--source-user", "me", "--source-password-file", file, remote])
                    #expect(good.status == 0, "\(good.errors)")
                    #expect(try await world.version("1")?["sourceName"]?.string == remote)
                    let bad = try await world.take("2", ["--plain-http", remote])
                    #expect(bad.status == 1 && bad.errors.contains("--source-user"), "\(bad.errors)")
                    for secret in ["other secret", "signature=", "a-token-that"] {
                        let said = good.output + good.errors + bad.output + bad.errors + world.log
                        #expect(!said.contains(secret))
                    }
                }
            }
        }

        @Test("Wrong bytes of another registry end the import, and nothing of it stays", arguments: ["lie", "short"])
        func lies(fault: String) async throws {
            try await RootfsLayout.with { image, world in
                let objects = try await world.objectsAtRest()
                try await OtherRegistry.with(image.layout, [fault]) { registry in
                    let result = try await world.take(
                        "1", ["--plain-http", "docker://\(registry.address)/team/x@\(image.digest)"])
                    #expect(result.status == 1 && result.errors.contains("bytes"), "\(result.errors)")
                }
                try await waitUntil("what was begun to go") { world.store.unfinished() == [] }
                #expect(try await world.objectsAtRest() == objects)
                #expect(try await world.version("1") == nil)
            }
        }
    }
}
