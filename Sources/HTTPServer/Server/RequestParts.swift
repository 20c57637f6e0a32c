import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// The requests of one connection, or of one stream of HTTP/2, as their parts come in.
///
/// One task at a time takes parts: the one that serves the connection takes heads, and a request's reader takes its
/// body, before the request is answered.
final class RequestParts: @unchecked Sendable {
    private let iterator: NIOAsyncChannelInboundStream<HTTPRequestPart>.AsyncIterator
    private let memory: Holding
    private var isBodyOpen = false

    /// - Parameter memory: where memory for bodies' bytes was taken when they came; it is given back as they are read.
    init(_ inbound: NIOAsyncChannelInboundStream<HTTPRequestPart>, memory: Holding) {
        self.memory = memory
        iterator = inbound.makeAsyncIterator()
    }

    /// The next request's head. What nobody read of the body before it is dropped.
    /// - Returns: nil at the connection's end.
    func nextHead() async throws -> HTTPRequest? {
        while let part = try await next() {
            if case .head(let head) = part {
                isBodyOpen = true
                return head
            }
        }
        return nil
    }

    /// The next bytes of the request's body; nil at its end.
    func nextOfBody() async throws -> ByteBuffer? {
        guard isBodyOpen else { return nil }
        switch try await next() {
        case .body(let buffer)?: return buffer
        case .end?:
            isBodyOpen = false
            return nil
        case .head?, nil:
            isBodyOpen = false
            throw ConnectionError.cut
        }
    }

    private func next() async throws -> HTTPRequestPart? {
        // A copy of the iterator goes on with the same sequence.
        var iterator = iterator
        let part = try await iterator.next()
        if case .body(let buffer)? = part { memory.give(buffer.readableBytes) }
        return part
    }
}
