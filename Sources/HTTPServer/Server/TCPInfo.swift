import NIOCore

/// The head of Linux' `struct tcp_info` (an interface that only grows), up to the fields that are needed here.
struct TCPInfo: Sendable {
    /// Byte offsets 0–119.
    private var ignored:
        (
            UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
            UInt64, UInt64
        )
    /// Offset 120: bytes that the client confirmed.
    var bytesAcknowledged: UInt64
    /// Offset 128.
    var bytesReceived: UInt64
    /// Offset 136.
    private var segments: UInt64
    /// Offset 144: bytes that wait to be sent.
    var bytesNotSent: UInt32
    private var minimumRoundTrip: UInt32

    /// Segments sent and not confirmed: offset 24.
    var unacknowledged: UInt32 { UInt32(truncatingIfNeeded: ignored.3) }

    static let option = NIOBSDSocket.Option(rawValue: 11)

    /// What the client at the other end has taken and sent; nil where the system does not tell.
    static func progress(of channel: any Channel) -> EventLoopFuture<ConnectionState.Progress?> {
        guard let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(nil)
        }
        let info: EventLoopFuture<TCPInfo> = provider.unsafeGetSocketOption(level: .tcp, name: option)
        return info.map { info in
            ConnectionState.Progress(
                moved: Int64(clamping: info.bytesAcknowledged &+ info.bytesReceived),
                hasUnsent: info.unacknowledged > 0 || info.bytesNotSent > 0)
        }.recover { _ in nil }
    }
}
