import NIOCore

/// Counts the bytes of heads that an HTTP/1.1 connection keeps: of heads that are not whole yet, and of requests that
/// wait for their answers. A value without I/O.
struct HeadMeter {
    /// How many bytes of memory one byte of a head takes: in the buffer that it came in, in the parser, and in its
    /// field.
    static let factor = 3
    /// What a request takes besides, in bytes.
    static let request = 2 << 10
    /// What each connection may keep uncounted, in bytes, since it takes as much by being open.
    static let allowance = factor * (8 << 10) + request

    /// How many bytes the parser holds at most.
    private var pending = 0
    /// How many of the bytes that came last were not handed on yet.
    private var rest = 0
    private var heads = 0
    private var requests = 0

    /// Notes that bytes came in.
    mutating func read(_ count: Int) {
        pending += count
        rest = count
    }

    /// Notes that the parser has handed on a head of this size.
    mutating func head(_ size: Int) {
        rest = max(0, rest - size)
        pending = rest
        heads += size
        requests += 1
    }

    /// Notes that the parser has handed on a body's bytes.
    mutating func body(_ count: Int) {
        rest = max(0, rest - count)
        pending = rest
    }

    /// Notes that the oldest request is answered, whose head had this size.
    mutating func answered(_ size: Int) {
        heads -= size
        requests -= 1
    }

    /// What is to be taken of the budget, in bytes.
    var use: Int { max(0, Self.factor * (pending + heads) + Self.request * requests - Self.allowance) }
}

/// The event that bytes were thrown away for which there was no memory: the rest of the request can't be read.
struct DroppedBytes {}

/// Sees what comes before the parser does, so that memory for heads is taken before it is used. If there is none, the
/// connection is closed without reading the request. But if bytes of a body or after the last request find none, they
/// are thrown away, so that the request whose head was read is still answered.
final class HeadMeterHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var meter = HeadMeter()
    private let connection: Connection
    private var taken = 0
    /// Whether what comes is the body of a request whose head was read.
    var isInBody = false
    /// Whether what comes is not wanted any more. The connection stays open, since a cut would destroy the answer on
    /// its way.
    var isSwallowing = false
    /// How many bytes came that were no body's: heads, chunks' sizes and their extensions.
    private(set) var framing: Int64 = 0
    /// Whether bytes were thrown away: the parser, which lacks them, gets no more.
    private var hasDropped = false

    init(connection: Connection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasDropped else {
            context.fireUserInboundEventTriggered(DroppedBytes())
            return
        }
        let count = Self.unwrapInboundIn(data).readableBytes
        framing += Int64(count)
        meter.read(count)
        if settle() {
            context.fireChannelRead(data)
        } else if isInBody || isSwallowing {
            hasDropped = true
            context.fireUserInboundEventTriggered(DroppedBytes())
        } else {
            context.cut()
        }
    }

    /// Notes that the parser has handed on a head of this size.
    /// - Returns: false if there is no memory for the head.
    func head(_ size: Int) -> Bool {
        meter.head(size)
        return settle()
    }

    func body(_ count: Int) {
        framing -= Int64(count)
        meter.body(count)
    }

    func answered(_ size: Int) {
        meter.answered(size)
        _ = settle()
    }

    private func settle() -> Bool {
        let use = meter.use
        if use > taken {
            let more = use - taken
            guard isInBody ? connection.takeForRequest(more) : connection.memory.take(more) else { return false }
        } else if use < taken {
            connection.memory.give(taken - use)
        }
        taken = use
        return true
    }
}
