import Foundation
import HTTPServer
import HTTPTypes
import Identity
import Logging
import Logs
import ServiceLifecycle
import UnixSignals

// What the HTTP benchmark loads: a small document and a file behind everything that a request to Cistern goes through
// (authentication, request id, log line), without a registry behind it.
//
//     http-bench-server DIRECTORY FILE PLAIN_PORT TLS_PORT

let arguments = CommandLine.arguments
guard arguments.count == 5, let plainPort = Int(arguments[3]), let tlsPort = Int(arguments[4]) else {
    FileHandle.standardError.write(Data("usage: http-bench-server DIRECTORY FILE PLAIN_PORT TLS_PORT\n".utf8))
    exit(2)
}
let (directory, path) = (arguments[1], arguments[2])
let sink = LogSink()
let logger = Logger(label: "bench") { JSONLogHandler(label: $0, sink: sink) }

let authority = CertificateAuthority(directory: "\(directory)/tls")
try authority.prepare()
var users = Htpasswd()
try users.set("pull", try BcryptHash(password: "secret", cost: 6))
var policy = Policy()
try policy.set("pull", [.pull])

let manifest = Array(String(repeating: "x", count: 2000).utf8)
var routes = Routes(
    table: AccessTable([
        .init("GET", "/v2/**", .role(.pull)), .init("GET", "/pool/**", .role(.pull)),
        .init("GET", "/blob", .role(.pull)),
    ]))
routes.get("/v2/**", execution: .eventLoop) { _ in
    .bytes(
        manifest, contentType: "application/vnd.oci.image.manifest.v1+json",
        headers: [.eTag: "\"sha256:0123\"", .cacheControl: "no-cache"])
}
routes.get("/pool/**") { _ in .bytes(manifest, contentType: "text/plain") }
routes.get("/blob", execution: .eventLoop) { request in
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw HTTPFailure(.notFound, "no file") }
    let size = lseek(descriptor, 0, SEEK_END)
    let file = ResponseFile(length: Int64(size), descriptor: descriptor) { _, _ in
        []
    } close: {
        close(descriptor)
    }
    return .file(file, for: request, contentType: "application/octet-stream")
}
routes.add(.health([]))
let server = HTTPServer(
    listeners: [
        Listener(address: ListenAddress(host: "127.0.0.1", port: plainPort), security: .plain),
        Listener(
            address: ListenAddress(host: "127.0.0.1", port: tlsPort),
            security: .tls(try authority.files.configuration())),
    ], routes: routes, authenticator: Authenticator(users: users, policy: policy), accessLog: AccessLog(sink: sink),
    logger: logger
) { bound in
    for address in bound { logger.notice("listening", metadata: ["address": "\(address)"]) }
}
let group = ServiceGroup(services: [server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
try await group.run()
sink.flush()
