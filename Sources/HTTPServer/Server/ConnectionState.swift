import NIOCore

/// What a connection is doing and when it has to be given up: a value without I/O, so that every deadline can be tested
/// with times and counters that a test makes up.
struct ConnectionState {
    /// What is to be known of a request until its response is written.
    struct Exchange: Equatable {
        var keepAlive: Bool
        var isHead: Bool
        var expectsContinue: Bool
        /// Of the head, in bytes.
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
        /// The request's body stopped coming: tell whoever reads it.
        case stalled(again: NIODeadline)
        case close
    }

    /// What went over the connection so far, in bytes, and whether the client has yet to take some.
    struct Progress: Equatable {
        var moved: Int64
        var hasUnsent: Bool
    }

    /// Request bodies that are nearly through are read to their end to keep the connection; larger ones are not.
    static let worthReading: Int64 = 64 << 10

    let limits: ServerLimits
    /// Requests whose response is not finished, oldest first (several if the client pipelines).
    private(set) var exchanges: [Exchange] = []
    /// A request's head came and its end did not.
    private(set) var isBodyOpen = false
    /// What is still to come of that body; nil if it is chunked.
    private var bodyLeft: Int64?
    private(set) var received: Int64 = 0
    private(set) var isDraining = false
    private var lingering: (quiet: NIODeadline, end: NIODeadline)?
    /// The server asked for bytes and has not got any since.
    var isReading = false
    /// The client does not take what is being sent.
    var isBlocked = false
    private var responseClosing = false
    private var responseStarted = false
    private var waitingSince: NIODeadline
    /// Since when the oldest of `exchanges` is going on.
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
    /// The oldest request has no answer yet.
    var isWorking: Bool { !exchanges.isEmpty && !responseStarted }
    /// The client waits for `100 Continue` before it sends its body.
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

    /// The body is wanted, or is coming without being asked for.
    mutating func stopExpecting() {
        if !exchanges.isEmpty { exchanges[exchanges.count - 1].expectsContinue = false }
    }

    // MARK: what goes out

    /// - Parameter wantsClose: whoever answers wants the connection closed.
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

    /// The server stops: the response that is under way is the last one.
    mutating func drain() { isDraining = true }

    /// From now on what comes is swallowed.
    /// - Returns: when to check whether that is over.
    mutating func linger(now: NIODeadline) -> NIODeadline {
        let quiet = now + TimeAmount(limits.lingerTime)
        lingering = (quiet, max(quiet, now + TimeAmount(limits.lingerMaximum)))
        return quiet
    }

    /// Something came and was swallowed.
    mutating func swallowed(now: NIODeadline) {
        lingering?.quiet = now + TimeAmount(limits.lingerTime)
    }

    // MARK: time

    /// What the timer that has just fired means.
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
        // An idle client that still takes what was sent to it is not idle.
        if isIdle, !current.hasUnsent { return .close }
        let isLate = !isIdle && now >= exchangeSince + TimeAmount(limits.exchangeTime)
        guard last != nil || isLate else { return .again(next) }
        if !isLate, let last, current.moved - last.moved >= limits.progressBytes {
            toldOfStall = false
            return .again(next)
        }
        if isBodyOpen, !isBlocked, !responseStarted, !exchanges.isEmpty {
            // Whoever reads the body is told once, and answers.
            defer { toldOfStall = true }
            return toldOfStall ? .again(next) : .stalled(again: next)
        }
        return .close
    }
}
