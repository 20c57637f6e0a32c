import Foundation
import OCI
import TestSupport
import Testing

@testable import Transfer

@Suite("What is uploaded from a pipe")
struct PipeTests {
    /// Has a program write to a pipe while the body reads it.
    private static func withPipe(
        _ script: String, _ body: @Sendable @escaping (_ path: String) throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/pipe"
            try await runSuccessfully("mkfifo", [path])
            async let writer = run("sh", ["-c", "{ \(script); } > \"$0\"", path])
            try await onThread { try body(path) }
            _ = try await writer
        }
    }

    @Test("is copied and hashed whole")
    func copied() async throws {
        let expected = [UInt8](repeating: UInt8(ascii: "x"), count: 3_000_000)
        try await Self.withPipe("head -c 3000000 /dev/zero | tr '\\0' x") { path in
            let file = try UploadFile.input(path)
            #expect(file.size == 3_000_000 && !file.isNamed)
            #expect(try file.digest(.sha256) == Digest.of(expected))
            #expect(try file.bytes() == expected)
        }
    }

    @Test("is refused where it is too long, or nothing comes")
    func bounds() async throws {
        for (script, words) in [("head -c 1001 /dev/zero", "more than 1000 bytes"), ("true", "nothing came")] {
            try await Self.withPipe(script) { path in
                let error = #expect(throws: TransferError.self) { try UploadFile.input(path, limit: 1000) }
                #expect(error.map { "\($0)".contains(words) } == true)
            }
        }
    }

    @Test("is no directory and no device", arguments: ["/etc", "/dev/zero"])
    func others(_ path: String) {
        #expect(throws: TransferError.self) { try UploadFile.input(path) }
    }

    @Test("is a file as it is where it is one")
    func file() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/file"
            try Data("content".utf8).write(to: URL(fileURLWithPath: path))
            let file = try UploadFile.input(path)
            #expect(file.isNamed && file.size == 7 && file.path == path)
        }
    }
}
