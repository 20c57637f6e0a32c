import NIOCore

/// What a connection is doing and when it has to be given up: a value without I/O, so that every deadline can be tested
/// with times and counters that a test makes up.
struct ConnectionState {
    /// What has to be known of a request until its response is written.
    struct Exchange: Equatable {
        var keepAlive: Bool
        var isHead: Bool
        var expectsContinue: Bool
        /// The size of the head, in bytes.
        var size = 0
    }

    enum Check: Equatable {
        case again(NIODeadline)
        /// Ask the system for `Progress` and give it to `judge`.
        case sample
        case close
    }

    enum Judgement: Equatable {
        case again(NIODeadline)
        /// The request's body stopped coming: tell its reader.
        case stalled(again: NIODeadline)
        case close
    }

    /// The bytes that went over the connection so far, and whether the client still has to take some of them.
    struct Progress: Equatable {
        var moved: Int64
        var hasUnsent: Bool
    }

    /// If at most so many bytes of a body are left, they are read, to keep the connection; else it is closed.
    static let worthReading: Int64 = 64 << 10

    let limits: ServerLimits
    /// Requests whose response is not finished, oldest first (several if the client pipelines).
    private(set) var exchanges: [Exchange] = []
    /// Whether a request's head came and its end did not.
    private(set) var isBodyOpen = false
    /// How many bytes of that body are still to come; nil if it is chunked.
    private var bodyLeft: Int64?
    private(set) var received: Int64 = 0
    private(set) var isDraining = false
    private var lingering: (quiet: NIODeadline, end: NIODeadline)?
    /// Whether the server asked for bytes and has not got any since.
    var isReading = false
    /// Whether the client does not take what is being sent.
    var isBlocked = false
    private var responseClosing = false
    private var responseStarted = false
    private var waitingSince: NIODeadline
    /// When the oldest of `exchanges` began: when its head came, or the response before it ended.
    private var exchangeSince: NIODeadline
    private var wasServed = false
    private var toldOfStall = false
    private var last: Progress?

    init(limits: ServerLimits, now: NIODeadline) {
        self.limits = limits
        waitingSince = now
        exchangeSince = now
    }

    var isIdle: Bool { exchanges.isEmpty && !isBodyOpen }
    var isLingering: Bool { lingering != nil }
    /// Whether the response to the oldest request has not begun.
    var isWorking: Bool { !exchanges.isEmpty && !responseStarted }
    /// Whether the client waits for `100 Continue` before it sends its body.
    var awaitsContinue: Bool { isBodyOpen && exchanges.last?.expectsContinue == true }

    // MARK: what comes in

    mutating func requestHead(_ exchange: Exchange, bodyLength: Int64?, now: NIODeadline) {
        if exchanges.isEmpty { exchangeSince = now }
        exchanges.append(exchange)
        isBodyOpen = true
        bodyLeft = bodyLength
        toldOfStall = false
        last = nil
    }

    mutating func requestBody(_ count: Int) {
        received += Int64(count)
        bodyLeft = bodyLeft.map { $0 - Int64(count) }
        stopExpecting()
    }

    mutating func requestEnd() {
        isBodyOpen = false
    }

    /// Notes that the client needs no `100 Continue` any more: its body is wanted, or comes without that.
    mutating func stopExpecting() {
        if !exchanges.isEmpty { exchanges[exchanges.count - 1].expectsContinue = false }
    }

    // MARK: what goes out

    /// Begins a response.
    /// - Parameter wantsClose: whether the response asks for the connection to be closed.
    /// - Returns: the request that is answered, and whether the connection closes after it.
    mutating func responseHead(wantsClose: Bool) -> (exchange: Exchange, close: Bool) {
        let exchange = exchanges.first ?? Exchange(keepAlive: false, isHead: false, expectsContinue: false)
        let isNewest = exchanges.count <= 1
        let abandonsBody =
            isNewest && isBodyOpen && (exchange.expectsContinue || (bodyLeft ?? .max) > Self.worthReading)
        responseStarted = true
        responseClosing = wantsClose || !exchange.keepAlive || isDraining || abandonsBody
        return (exchange, responseClosing)
    }

    /// Ends a response.
    /// - Returns: whether the connection is to be closed now.
    mutating func responseEnd(now: NIODeadline) -> Bool {
        if !exchanges.isEmpty { exchanges.removeFirst() }
        wasServed = true
        waitingSince = now
        exchangeSince = now
        last = nil
        responseStarted = false
        return responseClosing
    }

    // MARK: closing

    /// Notes that the server stops: the response that is under way is the last one.
    mutating func drain() { isDraining = true }

    /// Begins to discard what comes, since the connection is being closed.
    /// - Returns: when to check whether that is over.
    mutating func linger(now: NIODeadline) -> NIODeadline {
        let quiet = now + TimeAmount(limits.lingerTime)
        lingering = (quiet, max(quiet, now + TimeAmount(limits.lingerMaximum)))
        return quiet
    }

    /// Notes that something came and was discarded: the client gets more time to read the answer.
    mutating func swallowed(now: NIODeadline) {
        lingering?.quiet = now + TimeAmount(limits.lingerTime)
    }

    // MARK: time

    /// Says what to do when the timer has fired.
    mutating func check(now: NIODeadline) -> Check {
        if let lingering {
            let end = min(lingering.quiet, lingering.end)
            return now >= end ? .close : .again(end)
        }
        if isIdle {
            let deadline = waitingSince + TimeAmount(wasServed ? limits.idleTime : limits.headTime)
            return now < deadline ? .again(deadline) : .sample
        }
        if (isBodyOpen && isReading) || isBlocked { return .sample }
        last = nil
        return .again(now + TimeAmount(limits.progressTime))
    }

    /// Judges a client that the server waits for.
    /// - Parameter progress: nil if the system does not tell; then only what was received counts.
    mutating func judge(_ progress: Progress?, now: NIODeadline) -> Judgement {
        let current = progress ?? Progress(moved: received, hasUnsent: isBlocked)
        defer { last = current }
        let next = now + TimeAmount(limits.progressTime)
        // A client that still takes the last response is not idle.
        if isIdle, !current.hasUnsent { return .close }
        let isLate = !isIdle && now >= exchangeSince + TimeAmount(limits.exchangeTime)
        guard last != nil || isLate else { return .again(next) }
        if !isLate, let last, current.moved - last.moved >= limits.progressBytes {
            toldOfStall = false
            return .again(next)
        }
        if isBodyOpen, !isBlocked, !responseStarted, !exchanges.isEmpty {
            // The body's reader gets the error once, and then answers the request.
            defer { toldOfStall = true }
            return toldOfStall ? .again(next) : .stalled(again: next)
        }
        return .close
    }
}
