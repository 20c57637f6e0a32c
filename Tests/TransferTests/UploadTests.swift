import Foundation
import OCI
import TestSupport
import Testing

@testable import Transfer

@Suite("Uploads of a task")
struct UploadTests {
    private static let content = DownloadTests.content

    private static func file(in directory: String) throws -> Upload {
        try Data(content).write(to: URL(fileURLWithPath: directory + "/droplet.tgz"))
        let file = try UploadFile.made("droplet.tgz", in: directory, limit: 1 << 20)
        return try Upload(#require(file))
    }

    @Test("sends the bytes in the form that the server takes, with their checksums", arguments: UploadForm.allCases)
    func forms(form: UploadForm) async throws {
        try await withTemporaryDirectory { directory in
            let upload = try Self.file(in: directory)
            try await ScriptedServer.with({ _, _, connection in connection.answer(201) }) { server in
                try await TaskClient.testing().upload(
                    upload, to: TransferURL("http://u:secret@\(server.address)/droplets/g?x=1"), as: form)
                let request = try #require(server.requests.first)
                #expect(request.target == "/droplets/g?x=1")
                #expect(request.method == (form == .put ? "PUT" : "POST"))
                #expect(request.header("Authorization") == basic("u"))
                #expect(request.header("Digest") == "sha256=\(Digest.of(Self.content).hex)")
                let sha256 = try await run(
                    "sh", ["-c", "openssl dgst -sha256 -binary \"$0\" | base64", directory + "/droplet.tgz"])
                let md5 = try await run(
                    "sh", ["-c", "openssl dgst -md5 -binary \"$0\" | base64", directory + "/droplet.tgz"])
                #expect(request.header("Content-Digest") == "sha-256=:\(sha256.output):")
                #expect(request.header("Content-MD5") == md5.output)
                guard form == .multipart else { return #expect(request.body == Self.content) }
                try Data(request.body).write(to: URL(fileURLWithPath: directory + "/body"))
                let type = try #require(request.header("Content-Type"))
                let script = """
                    import sys, email
                    head = b'Content-Type: ' + sys.argv[2].encode() + b'\\r\\n\\r\\n'
                    parts = email.message_from_bytes(head + open(sys.argv[1], 'rb').read()).get_payload()
                    assert len(parts) == 1
                    print(parts[0].get_param('name', header='content-disposition'), parts[0].get_filename())
                    """
                let read = try await runSuccessfully(
                    "python3", ["-c", script, directory + "/body", type])
                #expect(read.output == "upload[droplet] droplet.tgz")
                #expect(request.body.firstRange(of: Self.content) != nil)
            }
        }
    }

    @Test("sends all again after an answer that was lost, and after a 503")
    func lostAnswer() async throws {
        try await withTemporaryDirectory { directory in
            let upload = try Self.file(in: directory)
            try await ScriptedServer.with({ _, number, connection in
                switch number {
                case 0: return
                case 1: connection.answer(503)
                default: connection.answer(201)
                }
            }) { server in
                try await TaskClient.testing().upload(upload, to: TransferURL("http://\(server.address)/d"), as: .put)
                #expect(server.requests.count == 3)
                #expect(server.requests.allSatisfy { $0.body == Self.content })
            }
        }
    }

    @Test("what the server refuses for good is not sent again", arguments: [400, 401, 403, 404, 409, 413, 422, 302])
    func refusals(status: Int) async throws {
        try await withTemporaryDirectory { directory in
            let upload = try Self.file(in: directory)
            try await ScriptedServer.with({ _, _, connection in
                connection.answer(status, ["Location: http://127.0.0.1/"])
            }) { server in
                await #expect(throws: TransferFailure.self) {
                    try await TaskClient.testing().upload(
                        upload, to: TransferURL("http://\(server.address)/d"), as: .put)
                }
                #expect(server.requests.count == 1)
            }
        }
    }

    @Test("a file that changes after it was hashed is not sent to its end")
    func changing() async throws {
        try await withTemporaryDirectory { directory in
            let upload = try Self.file(in: directory)
            let handle = try #require(FileHandle(forWritingAtPath: directory + "/droplet.tgz"))
            try handle.write(contentsOf: [0, 0, 0, 0, 1])
            try handle.close()
            try await ScriptedServer.with({ _, _, connection in connection.answer(201) }) { server in
                let error = await #expect(throws: TransferFailure.self) {
                    try await TaskClient.testing().upload(
                        upload, to: TransferURL("http://\(server.address)/d"), as: .put)
                }
                #expect(error?.kind == .file)
                #expect(server.requests.isEmpty, "no request is complete")
            }
        }
    }

    /// What a build may leave in place of its droplet.
    enum Trick: String, CaseIterable {
        case symbolicLink, hardLink, pipe, directory, device, socket, tooLarge, linkedDirectory
    }

    @Test("only a regular file that the build made itself is opened", arguments: Trick.allCases)
    func tricks(trick: Trick) async throws {
        try await withTemporaryDirectory { directory in
            let secret = directory + "/secret"
            try Data("token".utf8).write(to: URL(fileURLWithPath: secret))
            var output = directory + "/out"
            try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: false)
            let droplet = output + "/droplet.tgz"
            switch trick {
            case .symbolicLink: try FileManager.default.createSymbolicLink(atPath: droplet, withDestinationPath: secret)
            case .hardLink: try FileManager.default.linkItem(atPath: secret, toPath: droplet)
            case .pipe: try #require(mkfifo(droplet, 0o644) == 0)
            case .directory:
                try FileManager.default.createDirectory(atPath: droplet, withIntermediateDirectories: false)
            case .device: try #require(mknod(droplet, S_IFCHR | 0o644, 0x105) == 0)
            case .socket: try #require(mknod(droplet, S_IFSOCK | 0o644, 0) == 0)
            case .tooLarge: try Data(count: 101).write(to: URL(fileURLWithPath: droplet))
            case .linkedDirectory:
                try Data(count: 1).write(to: URL(fileURLWithPath: droplet))
                try FileManager.default.createSymbolicLink(atPath: directory + "/link", withDestinationPath: output)
                output = directory + "/link"
            }
            #expect(throws: TransferFailure.self) { try UploadFile.made("droplet.tgz", in: output, limit: 100) }
        }
    }

    @Test("no file is no error")
    func missing() async throws {
        try await withTemporaryDirectory { directory in
            let file = try UploadFile.made("cache.tgz", in: directory, limit: 100)
            #expect(file == nil)
        }
    }
}
