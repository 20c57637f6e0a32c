import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    /// What the cloud controller is told, by a connection on which both sides show certificates.
    @Suite("Telling a controller that asks for certificates", .serialized, .sideBySide)
    struct ControllerTests {
        /// An authority, and what it issued, in a directory.
        private struct Authority {
            let directory: String
            let name: String
            var path: String { "\(directory)/\(name).pem" }

            init(_ name: String, in directory: String) async throws {
                (self.directory, self.name) = (directory, name)
                try await make(
                    name, ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"])
            }

            /// - Returns: the files of a certificate and of its key.
            func issue(_ name: String) async throws -> (certificate: String, key: String) {
                let file = "\(self.name)-\(name)"
                try await make(
                    file,
                    [
                        "-CA", path, "-CAkey", "\(directory)/\(self.name).key", "-addext",
                        "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1",
                    ], subject: name)
                return ("\(directory)/\(file).pem", "\(directory)/\(file).key")
            }

            private func make(_ file: String, _ options: [String], subject: String? = nil) async throws {
                try await runSuccessfully(
                    "openssl",
                    [
                        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                        "\(directory)/\(file).key", "-out", "\(directory)/\(file).pem", "-subj",
                        "/CN=\(subject ?? file)",
                    ] + options)
            }
        }

        /// A controller: for each message a line with who sent it, the path and the body.
        private static let script = """
            import http.server, os, ssl, sys
            directory, authority, certificate, key = sys.argv[1:]
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_PATCH(self):
                    body = self.rfile.read(int(self.headers['Content-Length'])).decode()
                    sender = dict(pair for name in self.connection.getpeercert()['subject'] for pair in name)
                    with open(directory + '/told', 'a') as told:
                        told.write(f"{sender['commonName']} {self.path} {body}\\n")
                    self.send_response(200)
                    self.send_header('Content-Length', '0')
                    self.end_headers()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_REQUIRED
            server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            with open(directory + '/port.new', 'w') as port:
                port.write(str(server.server_port))
            os.rename(directory + '/port.new', directory + '/port')
            server.serve_forever()
            """

        @Test("It is told with the certificate of the settings; a wrong one is reported, and costs no message")
        func certificates() async throws {
            try await withTemporaryDirectory { directory in
                let (own, other) = (
                    try await Authority("own", in: directory), try await Authority("other", in: directory)
                )
                let certificate = try await own.issue("controller")
                let controller = try ChildProcess(
                    "python3", ["-c", Self.script, directory, own.path, certificate.certificate, certificate.key],
                    log: directory + "/controller.log")
                defer { controller.killGroup() }
                let port = try await waitFor("the controller's port") {
                    try? String(contentsOfFile: directory + "/port", encoding: .utf8)
                }
                let (good, bad) = (try await own.issue("cistern"), try await other.issue("cistern"))
                let identity = ["--controller-certificate", good.certificate, "--controller-key", good.key]
                let rows: [(guid: String, arguments: [String])] = [
                    ("no-certificate", ["--controller-authority", own.path]),
                    (
                        "certificate-of-another-authority",
                        [
                            "--controller-authority", own.path, "--controller-certificate", bad.certificate,
                            "--controller-key", bad.key,
                        ]
                    ),
                    ("another-authority", ["--controller-authority", other.path] + identity),
                    ("right", ["--controller-authority", own.path] + identity),
                ]
                let zip = try TestZip.bytes(["a": "b"])
                func told() -> [String] {
                    let text = (try? String(contentsOfFile: directory + "/told", encoding: .utf8)) ?? ""
                    return text.split(separator: "\n").map(String.init)
                }
                for row in rows {
                    let arguments = ["--controller-url", "https://127.0.0.1:\(port)/internal/v4"] + row.arguments
                    try await World.with(data: directory + "/data", arguments) { world in
                        let answer = try await world.client.send(
                            "PUT", "/packages/\(row.guid)?async=true", as: "operator", body: zip)
                        #expect(answer.status == 202, "\(answer.text)")
                        if row.guid == "right" {
                            try await waitUntil("all to be told") { told().count == rows.count }
                            return
                        }
                        let failure = try await waitFor("the failure to be logged") {
                            world.log.split(separator: "\n").first {
                                $0.contains("the controller can't be told") && $0.contains("\"\(row.guid)\"")
                            }
                        }
                        let reason = try JSONValue(parsing: Array(failure.utf8))["reason"]?.string ?? ""
                        #expect(reason.lowercased().contains("certificate"), "\(row.guid): \(reason)")
                        #expect(told().isEmpty, "\(row.guid)")
                        #expect(try await world.client.get("/packages/\(row.guid)", as: "operator").status == 200)
                    }
                }
                let lines = told()
                for row in rows {
                    let begin = "cistern /internal/v4/packages/\(row.guid) {"
                    #expect(lines.count { $0.hasPrefix(begin) && $0.contains(#""READY""#) } == 1, "\(lines)")
                }
            }
        }
    }
}
