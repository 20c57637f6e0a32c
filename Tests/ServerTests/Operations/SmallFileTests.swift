import Foundation
import TestSupport
import Testing

extension ServerTests {
    @Suite("Pipes in place of files")
    struct SmallFileTests {
        /// Puts a pipe, to which nobody writes, in a file's place.
        private static func replace(_ path: String) throws {
            unlink(path)
            try #require(mkfifo(path, 0o600) == 0)
        }

        @Test(
            "A running server says which file can't be used, goes on with the old one, and ends when it is told to",
            arguments: [
                ["policy.yaml"], ["users.htpasswd"], ["tls/server.pem"], ["tls/server.pem", "tls/server-key.pem"],
            ])
        func running(files: [String]) async throws {
            try await withServer { server in
                for file in files { try Self.replace("\(server.directory)/\(file)") }
                try await waitUntil("the log to name \(files[0])") {
                    let log = try String(contentsOfFile: server.log, encoding: .utf8)
                    return log.contains("/\(files[0])") && log.contains("it is no regular file")
                }
                #expect(try await server.request("GET", "/v2/").status == 200)
                #expect(try await server.stop() == 0)
            }
        }

        @Test("A server does not wait for its authority's files either")
        func authority() async throws {
            try await withServer { server in
                try Self.replace("\(server.directory)/tls/ca-key.pem")
                #expect(try await server.stop() == 0)
            }
        }

        @Test(
            "A server does not start with a pipe in place of a file, and says so",
            arguments: ["policy.yaml", "users.htpasswd", "tls/server-key.pem", "config.yaml", "key.pem"])
        func starting(file: String) async throws {
            try await withTemporaryDirectory { directory in
                let data = directory + "/data"
                try await RunningServer(data: data).stop()
                let path = "\(data)/\(file)"
                try Self.replace(path)
                let environment: [String: String] =
                    switch file {
                    case "key.pem": ["CISTERN_PROVENANCE_KEY": path]
                    // The server's own would be made anew.
                    case "tls/server-key.pem":
                        ["CISTERN_TLS_CERTIFICATE": "\(data)/tls/server.pem", "CISTERN_TLS_KEY": path]
                    default: [:]
                    }
                let ended = try await run(
                    "cistern",
                    ["serve", "--data", data, "--listen", "127.0.0.1:0"]
                        + (file == "config.yaml" ? ["--config", path] : []),
                    environment: environment, timeout: .seconds(60))
                #expect(ended.status == 1)
                #expect(ended.errors.contains(path) && ended.errors.contains("no regular file"), "\(ended.errors)")
            }
        }
    }
}
