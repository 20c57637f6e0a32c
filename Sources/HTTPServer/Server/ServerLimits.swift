/// What a client may take up: sizes, counts and times.
public struct ServerLimits: Hashable, Sendable {
    /// One header field or the request line, in bytes.
    public var headerField = 16 << 10
    /// All header fields together, in bytes.
    public var headerList = 64 << 10
    /// Header fields in a request.
    public var headerCount = 100
    /// From the connection's start until its first request's head is there, the TLS handshake included.
    public var headTime: Duration = .seconds(15)
    /// From the end of a response until the next request's head is there.
    public var idleTime: Duration = .seconds(75)
    /// While the server waits for a client to send or to read, the client must do so by at least `progressBytes` in
    /// every stretch of this length. What an HTTP/2 client reads counts by whole frames, of 16 KiB at most.
    public var progressTime: Duration = .seconds(30)
    public var progressBytes: Int64 = 1024
    /// The longest that a request and its response may take while the client still sends or reads, even if it makes
    /// progress all the time. The server's own work is not cut short.
    public var exchangeTime: Duration = .seconds(6 * 3600)
    /// How long a request is worked on after its client closed its side of the connection: most such clients are gone.
    public var halfClosedTime: Duration = .seconds(1)
    /// How long running transfers may go on after the server was asked to stop.
    public var drainTime: Duration = .seconds(25)
    /// How long idle connections are kept after the server was asked to stop, so that a request that is on its way is
    /// still answered.
    public var drainIdleTime: Duration = .milliseconds(250)
    /// A connection that is being closed discards what its client still sends, so that the client reads the answer
    /// instead of a reset: until nothing comes for `lingerTime`, and for `lingerMaximum` at most.
    public var lingerTime: Duration = .seconds(2)
    public var lingerMaximum: Duration = .seconds(30)
    /// Open connections of all listeners together, fewer where the process has few descriptors. For each further one
    /// another is closed, or it is refused (`ConnectionRegistry`).
    public var connections = 16_384
    /// Open connections from one `ClientAddress`, of all listeners together; more are closed as they come.
    public var connectionsOfAddress = 1024
    /// Streams that a client may have open on an HTTP/2 connection, which is closed if it has twice as many in work.
    /// On an HTTP/1.1 connection, the requests that may wait for their answers.
    public var streams = 100
    /// What a client may send on a stream before the server has read it, in bytes.
    public var streamWindow = 256 << 10
    /// Streams that a client may open and reset again on a connection within 30 s.
    public var streamResets = 200
    /// Requests a second of one `ClientAddress`, which can save up a minute's; more are answered 429. Routes that are
    /// open to everybody are not counted. nil: no limit.
    public var requestsOfAddress: Int?

    public init() {}
}
