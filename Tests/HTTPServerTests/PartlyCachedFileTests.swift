import Glibc
import Identity
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Files that the system has only a part of in memory", .timeLimit(.minutes(5)))
struct PartlyCachedFileTests {
    /// Drops a part of a file from the system's memory. Does nothing where a file system has no such memory.
    private static func forget(_ path: String, from offset: Int, count: Int) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        fsync(descriptor)
        posix_fadvise(descriptor, off_t(offset), off_t(count), POSIX_FADV_DONTNEED)
    }

    @Test("A response is whole although a read gives only what is in memory", arguments: [8192, 15_000, 200_000])
    func whole(_ size: Int) async throws {
        let directory = try TemporaryDirectory()
        let (path, content) = try directory.file("blob", bytes: size)
        var routes = Routes()
        routes.get("/blob", access: .open) { request in
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            return .file(
                ResponseFile(length: Int64(size), descriptor: descriptor) { _, _ in
                    []
                } close: {
                    close(descriptor)
                }, for: request, contentType: "application/octet-stream")
        }
        try await TestServer.run(routes) { server async throws in
            let authority = "\(server.directory.path)/tls/ca.pem"
            for (port, trusted) in [(server.plain, nil), (server.secure, authority)] {
                Self.forget(path, from: 4096, count: size - 4096)
                try await RawClient.with(port: port, authority: trusted) { client async throws in
                    let answer = try await client.request("GET", "/blob")
                    #expect(answer.body == content)
                }
            }
        }
    }
}
