import Foundation
import TestSupport
import Testing

/// Checks the lease protocol's model with spin: every order of every step, and that broken protocols are noticed.
@Suite("The model of the lease protocol")
struct ModelTests {
    /// Each check takes one processor and up to 2 GB.
    private static let places = Places(2)

    @Test(
        "in no order of its steps anything acknowledged is lost",
        arguments: [
            ["PUSHES_A=2", "PUSHES_B=0"], ["COLLECTORS=1"], ["INLINE", "PUSHES_A=2", "PUSHES_B=0"],
            ["INLINE", "COLLECTORS=1"], ["INDEX", "INLINE", "PUSHES_B=0"],
        ])
    func holds(definitions: [String]) async throws {
        let output = try await Self.check(definitions)
        #expect(output.contains("errors: 0"), "\(output)")
        #expect(!output.contains("max search depth too small") && !output.contains("out of memory"), "\(output)")
    }

    @Test(
        "a protocol without one of its rules loses something",
        arguments: [
            ["NO_RENEWAL"], ["NO_SWAP"], ["LATE_CUTOFF"], ["REUSED_DATA"], ["INLINE", "NO_RENEWAL"],
            ["INLINE", "NO_SWAP"], ["INLINE", "LATE_CUTOFF"], ["INDEX", "INLINE", "PUSHES_B=0", "NO_MARKER"],
            ["INDEX", "INLINE", "PUSHES_B=0", "UNSETTLED"], ["INDEX", "INLINE", "PUSHES_B=0", "LATE_VERSION"],
        ])
    func breaks(definitions: [String]) async throws {
        let output = try await Self.check(definitions)
        #expect(output.contains("assertion violated"), "\(output)")
    }

    private static func check(_ definitions: [String]) async throws -> String {
        let model = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Model/leases.pml").path
        return try await places.with {
            try await withTemporaryDirectory { directory in
                for (program, arguments) in [
                    ("spin", definitions.map { "-D\($0)" } + ["-a", model]),
                    ("gcc", ["-O2", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=2000", "-o", "pan", "pan.c"]),
                ] {
                    try await runSuccessfully(program, arguments, directory: directory, timeout: .seconds(300))
                }
                let result = try await run(
                    directory + "/pan", ["-m100000"], directory: directory, timeout: .seconds(900))
                return result.output + result.errors
            }
        }
    }
}
