import Foundation
import TestSupport

@testable import HTTPServer

/// Runs openssl.
func openssl(_ arguments: String..., input: String = "") async throws -> (status: Int32, output: String) {
    try await openssl(arguments, input: input)
}

func openssl(_ arguments: [String], input: String = "") async throws -> (status: Int32, output: String) {
    try await run("/usr/bin/openssl", arguments, input: input)
}

/// Runs a program; its errors come with its output.
func run(
    _ program: String, _ arguments: [String], input: String = ""
) async throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    let (output, entrance) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = output
    process.standardInput = entrance
    return try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread {
            continuation.resume(
                with: Result {
                    try process.run()
                    try entrance.fileHandleForWriting.write(contentsOf: Data(input.utf8))
                    try entrance.fileHandleForWriting.close()
                    let text = output.fileHandleForReading.readDataToEndOfFile()
                    process.waitUntilExit()
                    return (process.terminationStatus, String(decoding: text, as: UTF8.self))
                })
        }
    }
}

/// An authority for clients' certificates, made by openssl.
struct ClientAuthority: Sendable {
    let directory: TemporaryDirectory
    var path: String { directory.path + "/authority.pem" }

    init() async throws {
        directory = try TemporaryDirectory()
        try await Self.make(
            directory.path, "authority", "/CN=Clients",
            ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"])
    }

    /// - Parameters:
    ///   - subject: as openssl writes it: `/CN=ci`.
    ///   - names: alternative names: `URI:spiffe://a/b,DNS:host`.
    func issue(
        _ subject: String, names: String? = nil, usage: String = "clientAuth", isExpired: Bool = false
    ) async throws -> TLSFiles {
        let name = UUID().uuidString
        let signer = ["-CA", path, "-CAkey", directory.path + "/authority-key.pem"]
        var options = signer
        options += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=\(usage)"]
        if let names { options += ["-addext", "subjectAltName=\(names)"] }
        let files = try await Self.make(directory.path, name, subject, options)
        guard isExpired else { return files }
        let old = directory.path + "/\(name)-old.pem"
        let request = directory.path + "/\(name)-request.pem"
        for arguments in [
            ["req", "-new", "-key", files.key, "-subj", subject, "-out", request],
            ["x509", "-req", "-in", request, "-out", old, "-days", "-1", "-set_serial", "7"] + signer,
        ] {
            let result = try await openssl(arguments)
            guard result.status == 0 else { throw Failure(output: result.output) }
        }
        return TLSFiles(certificate: old, key: files.key)
    }

    private struct Failure: Error { let output: String }

    @discardableResult
    private static func make(
        _ directory: String, _ name: String, _ subject: String, _ options: [String]
    ) async throws -> TLSFiles {
        let files = TLSFiles(certificate: "\(directory)/\(name).pem", key: "\(directory)/\(name)-key.pem")
        let result = try await openssl(
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", files.key,
                "-out", files.certificate, "-subj", subject,
            ] + options)
        guard result.status == 0 else { throw Failure(output: result.output) }
        return files
    }
}
