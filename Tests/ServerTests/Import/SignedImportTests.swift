import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Signatures of a rootfs", .serialized, .sideBySide)
    struct SignedImportTests {
        private static func with(
            _ arguments: [String], _ body: (RootfsLayout, World) async throws -> Void
        ) async throws {
            try await RootfsLayout.with(arguments) { image, world in
                try await image.sign()
                try await body(image, world)
            }
        }

        /// What is imported with which signature, and whose it is.
        private static let good = [
            ("base.tar", "file.ops", "ops"), ("base.tar", "file.mini", "mini"),
            ("base.tar", "file.mini-legacy", "mini"),
            ("layout", "manifest.ops", "ops"), ("layout", "manifest.mini", "mini"),
            ("oci.tar.gz", "manifest.ops", "ops"),
            ("docker.tar", "docker.ops", "ops"),
        ]

        @Test("Each form is checked, and the version tells whose it is; keys are taken without a restart")
        func good() async throws {
            try await Self.with(["--rootfs-signatures", "required"]) { image, world in
                let before = try await world.take(
                    "0", ["--signature", "\(image.directory)/file.ops", "\(image.directory)/base.tar"])
                #expect(before.status == 1 && before.errors.contains("no key is trusted here"), "\(before.errors)")
                try await image.trust(["ops.pem", "mini.pub"], world)
                for (index, (file, signature, key)) in Self.good.enumerated() {
                    let result = try await world.take(
                        "\(index)", ["--signature", "\(image.directory)/\(signature)", "\(image.directory)/\(file)"])
                    #expect(
                        result.status == 0 && result.output.contains("signed by \(key)"), "\(file): \(result.errors)")
                    #expect(try await world.version("\(index)")?["signedBy"]?.string == key)
                }
                let shown = try await world.server.cisternSuccessfully([
                    "rootfs", "show", "--stack", "s", "--version", "1",
                ])
                #expect(shown.output.contains("signed by     mini"))
            }
        }

        @Test(
            "What is not signed by a trusted key is refused and leaves nothing; a wrong signature is, where none is asked for too",
            arguments: [true, false])
        func bad(isRequired: Bool) async throws {
            try await Self.with(isRequired ? ["--rootfs-signatures", "required"] : []) { image, world in
                try await image.trust(["ops.pem"], world)
                try await runSuccessfully("sh", ["-c", "echo x > \"$1\"", "sh", image.directory + "/junk"])
                let objects = try await world.objectsAtRest()
                for (file, signature) in [
                    ("base.tar", "file.other"), ("base.tar", "file.mini"), ("base.tar", "file.mini-legacy"),
                    ("base.tar", "manifest.ops"), ("base.tar", "junk"), ("base.tar", "base.tar"),
                    ("layout", "file.ops"),
                    ("layout", "manifest.mini"), ("docker.tar", "manifest.ops"), ("docker.tar", "file.ops"),
                ] {
                    let result = try await world.take(
                        "1", ["--signature", "\(image.directory)/\(signature)", "\(image.directory)/\(file)"])
                    #expect(result.status == 1, "\(file), \(signature): \(result.output)")
                    #expect(
                        result.errors.contains("trusted are ops") || result.errors.contains("minisig")
                            || result.errors.contains("too large"), "\(file), \(signature): \(result.errors)")
                }
                let unsigned = try await world.take("2", [image.directory + "/layout"])
                #expect(unsigned.status == (isRequired ? 1 : 0), "\(unsigned.errors)")
                if isRequired {
                    #expect(unsigned.errors.contains("422 untrusted") && unsigned.errors.contains("--signature"))
                    #expect(unsigned.errors.contains("trusted are ops"))
                    #expect(world.store.unfinished() == [])
                    let left = try await world.objectsAtRest().symmetricDifference(objects)
                    #expect(left == [])
                } else {
                    #expect(try await world.version("2")?["signedBy"] == nil)
                }
            }
        }
    }
}
