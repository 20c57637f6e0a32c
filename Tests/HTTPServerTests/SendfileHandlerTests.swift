import Foundation
import Logging
import NIOCore
import NIOEmbedded
import NIOPosix
import NIOSSL
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Ways of a file into a connection")
struct SendfileHandlerTests {
    @Test("Only the plain pipeline's handler makes file regions; without it the event is an error")
    func event() throws {
        let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: 0)
        defer { _ = try? handle.takeDescriptorOwnership() }
        let event = SendFile(region: FileRegion(fileHandle: handle, readerIndex: 5, endIndex: 15))

        let statistics = ServerStatistics()
        let plain = EmbeddedChannel(handler: SendfileHandler(statistics: statistics))
        try plain.triggerUserOutboundEvent(event).wait()
        guard case .fileRegion(let region)? = try plain.readOutbound(as: IOData.self) else {
            Issue.record("no file region came out")
            return
        }
        #expect(region.readerIndex == 5)
        #expect(region.endIndex == 15)
        #expect(statistics.sentBySystem == 10)
        _ = try plain.finish()
    }

    @Test(
        "A file handed to a TLS connection is an error; nothing is sent and the process lives", .timeLimit(.minutes(5)))
    func secure() async throws {
        let directory = try TemporaryDirectory()
        let authority = CertificateAuthority(directory: directory.path)
        try authority.prepare()
        let child = ConnectionChannel(
            security: .tls(try ServerTLS(authority.files)), limits: ServerLimits(),
            registry: ConnectionRegistry(maximum: 10, maximumOfAddress: 10, logger: Logger(label: "test")),
            memory: .memory(64 << 20), statistics: ServerStatistics(), logger: Logger(label: "test"))
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0) { channel in
                channel.eventLoop.makeCompletedFuture { try child.setup(channel) }
            }
        let port = try #require(server.channel.localAddress?.port)
        let file = try directory.file("blob", bytes: 100_000)
        try await server.executeThenClose { accepted in
            try await RawClient.with(port: port, authority: authority.authorityPath) { _ in
                var iterator = accepted.makeAsyncIterator()
                let connection = try #require(try await iterator.next())
                guard case .negotiated(let version) = connection.version,
                    case .one(let channel) = try await version.get()
                else {
                    Issue.record("HTTP/1.1 was not negotiated")
                    return
                }
                let handle = NIOFileHandle(
                    _deprecatedTakingOwnershipOfDescriptor: open(file.path, O_RDONLY | O_CLOEXEC))
                defer { try? handle.close() }
                #expect(connection.connection.transfer == .chunks)
                await #expect(throws: ChannelError.operationUnsupported) {
                    try await connection.connection.send(
                        FileRegion(fileHandle: handle, readerIndex: 0, endIndex: 100_000))
                }
                try await channel.executeThenClose { _, _ in }
            }
        }
    }
}
