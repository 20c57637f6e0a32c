import Glibc
import NIOCore
import NIOPosix

extension ConnectionChannel {
    /// Builds one connection, whose client is gone already, and lets it go.
    ///
    /// What a connection is made of are generic types that the Swift runtime puts together when they are first used. Two
    /// event loops that do so at the same moment have brought the process down (once in some 700 starts with several
    /// first clients at once); after a rehearsal on one of them the types are there.
    func rehearse(on group: any EventLoopGroup, edge: Edge) async {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { return }
        close(ends[1])
        let accepted = try? await ClientBootstrap(group: group.next()).withConnectedSocket(ends[0]) { channel in
            channel.eventLoop.makeCompletedFuture { try setup(channel) }
        }
        if let accepted { await handle(accepted, edge: edge) }
    }
}
