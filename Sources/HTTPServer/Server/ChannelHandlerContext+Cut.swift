import NIOCore
import NIOSSL

extension ChannelHandlerContext {
    /// Ends the connection at once. TLS would first say goodbye and wait for a client that does not listen.
    func cut() {
        if let tls = try? pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self) {
            tls.close(promise: nil)
        } else {
            close(promise: nil)
        }
    }
}
