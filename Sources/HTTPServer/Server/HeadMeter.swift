import NIOCore

/// How many bytes of heads an HTTP/1.1 connection keeps: of heads that are not whole yet, and of requests that wait for
/// their answers. A value without I/O.
struct HeadMeter {
    /// What one byte of a head takes in memory: the buffer that it came in, its place in the parser, its field.
    static let factor = 3
    /// What a request takes besides, in bytes.
    static let request = 2 << 10
    /// What each connection may keep without its being counted, since its own bytes are (`MemoryUse.plain`).
    static let allowance = factor * (8 << 10) + request

    /// Of the parser, at most.
    private var pending = 0
    /// Of the bytes that came last, what was not handed on yet.
    private var rest = 0
    private var heads = 0
    private var requests = 0

    /// Bytes came in.
    mutating func read(_ count: Int) {
        pending += count
        rest = count
    }

    /// The parser has handed on a head of this size.
    mutating func head(_ size: Int) {
        rest = max(0, rest - size)
        pending = rest
        heads += size
        requests += 1
    }

    /// The parser has handed on a body's bytes.
    mutating func body(_ count: Int) {
        rest = max(0, rest - count)
        pending = rest
    }

    /// The oldest request is answered, whose head had this size.
    mutating func answered(_ size: Int) {
        heads -= size
        requests -= 1
    }

    /// What is to be taken of the budget, in bytes.
    var use: Int { max(0, Self.factor * (pending + heads) + Self.request * requests - Self.allowance) }
}

/// Bytes came for which there was no memory, and were thrown away: what is left of the request can't be read.
struct DroppedBytes {}

/// Sees what comes before the parser does, so that memory for heads is taken before it is used. A connection that finds
/// none is cut: its request is not even read. A request whose head was read is answered.
final class HeadMeterHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var meter = HeadMeter()
    private let connection: Connection
    private var taken = 0
    /// What comes belongs to a request whose head is there.
    var isInBody = false
    /// Nothing that comes is wanted any more: a cut would destroy the answer that is on its way.
    var isSwallowing = false
    /// The parser has not had all that came, and gets no more.
    private var hasDropped = false

    init(connection: Connection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasDropped else {
            context.fireUserInboundEventTriggered(DroppedBytes())
            return
        }
        meter.read(Self.unwrapInboundIn(data).readableBytes)
        if settle() {
            context.fireChannelRead(data)
        } else if isInBody || isSwallowing {
            hasDropped = true
            context.fireUserInboundEventTriggered(DroppedBytes())
        } else {
            context.cut()
        }
    }

    /// - Returns: false if there is no memory for the head.
    func head(_ size: Int) -> Bool {
        meter.head(size)
        return settle()
    }

    func body(_ count: Int) { meter.body(count) }

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
