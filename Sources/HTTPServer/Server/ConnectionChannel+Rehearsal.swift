import Glibc
import NIOCore
import NIOPosix

extension ConnectionChannel {
    /// Builds one connection of each kind, whose client is gone already, and lets it go.
    ///
    /// What a connection is made of are generic types that the Swift runtime puts together when they are first used. Two
    /// event loops that do so at the same moment have brought the process down (once in some 700 starts with several
    /// first clients at once); after a rehearsal on one of them the types are there.
    func rehearse(on group: any EventLoopGroup, requestHandler: RequestHandler) async {
        await rehearse(on: group, requestHandler: requestHandler, input: []) { try setup($0) }
        guard case .tls = security else { return }
        // What a handshake would have led to.
        await rehearse(on: group, requestHandler: requestHandler, input: []) { channel in
            let connection = Connection(
                channel: channel, transfer: .chunks, memory: memory, statistics: statistics)
            return Accepted(version: try addHTTP1(connection, since: channel.eventLoop.now), connection: connection)
        }
        await rehearse(on: group, requestHandler: requestHandler, input: Self.refusedStream) { channel in
            let connection = Connection(
                channel: channel, transfer: .chunks, memory: memory, statistics: statistics)
            return Accepted(version: try addHTTP2(connection, since: channel.eventLoop.now), connection: connection)
        }
    }

    private func rehearse(
        on group: any EventLoopGroup, requestHandler: RequestHandler, input: [UInt8],
        build: @escaping @Sendable (any Channel) throws -> Accepted
    ) async {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { return }
        _ = input.withUnsafeBytes { send(ends[1], $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        close(ends[1])
        let accepted = try? await ClientBootstrap(group: group.next()).withConnectedSocket(ends[0]) { channel in
            channel.eventLoop.makeCompletedFuture { try build(channel) }
        }
        guard let accepted else { return }
        // In a task of its own, since the one that serves a connection is cancelled when its client goes.
        await withDiscardingTaskGroup { tasks in
            tasks.addTask { await handle(accepted, requestHandler: requestHandler) }
        }
    }

    /// What an HTTP/2 client begins with, and a request that no route sees: `GET *`.
    private static let refusedStream: [UInt8] =
        Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
        + [0, 0, 5, 1, 5, 0, 0, 0, 1] + [0x82, 0x87, 0x04, 0x01, 0x2A]
}
