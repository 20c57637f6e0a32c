import Foundation
import Testing

/// Checks the lease protocol's model with spin: every order of every step, and that broken protocols are noticed.
@Suite("The model of the lease protocol", .serialized)
struct ModelTests {
    @Test(
        "in no order of its steps anything acknowledged is lost",
        arguments: [
            ["PUSHES_A=2", "PUSHES_B=0"], ["COLLECTORS=1"], ["INLINE", "PUSHES_A=2", "PUSHES_B=0"],
            ["INLINE", "COLLECTORS=1"], ["INDEX", "INLINE", "PUSHES_B=0"],
        ])
    func holds(definitions: [String]) throws {
        let output = try Self.check(definitions)
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
    func breaks(definitions: [String]) throws {
        let output = try Self.check(definitions)
        #expect(output.contains("assertion violated"), "\(output)")
    }

    private static func check(_ definitions: [String]) throws -> String {
        let directory = FileManager.default.temporaryDirectory.appending(path: "model-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let model = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Model/leases.pml").path
        try run("spin", definitions.map { "-D\($0)" } + ["-a", model], in: directory)
        try run("gcc", ["-O2", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=2000", "-o", "pan", "pan.c"], in: directory)
        return try run("./pan", ["-m100000"], in: directory)
    }

    @discardableResult
    private static func run(_ program: String, _ arguments: [String], in directory: URL) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["timeout", "300", program] + arguments
        process.currentDirectoryURL = directory
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return String(decoding: output, as: UTF8.self)
    }
}
