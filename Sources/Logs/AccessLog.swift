import Runtime

/// One line for each request. It has neither header values nor the query, which may carry signatures.
public struct AccessLog: Sendable {
    /// How much of a path is logged at most, in bytes.
    static let maximumPath = 512

    private let sink: LogSink

    public init(sink: LogSink) { self.sink = sink }

    package struct Entry {
        let method: String
        let path: String
        let status: Int
        /// The size of the response's body as it was sent, in bytes.
        let sent: Int64
        /// The size of the request's body as it was received, in bytes.
        let received: Int64
        let nanoseconds: Int64
        let user: String?
        let id: String
        let peer: String
        /// Whether the response was not sent to its end.
        let wasCut: Bool

        package init(
            method: String, path: String, status: Int, sent: Int64, received: Int64, nanoseconds: Int64, user: String?,
            id: String, peer: String, wasCut: Bool
        ) {
            self.method = method
            self.path = path
            self.status = status
            self.sent = sent
            self.received = received
            self.nanoseconds = nanoseconds
            self.user = user
            self.id = id
            self.peer = peer
            self.wasCut = wasCut
        }
    }

    package func record(_ entry: Entry) {
        var line = JSONLine(time: SystemClock.now(), level: "info", message: "request")
        line.add("method", entry.method, atMost: 32)
        line.add("path", entry.path, atMost: Self.maximumPath)
        line.add("status", Int64(entry.status))
        line.add("sent", entry.sent)
        if entry.received > 0 { line.add("received", entry.received) }
        line.add("ms", milliseconds: entry.nanoseconds)
        if let user = entry.user { line.add("user", user) }
        line.add("request", entry.id)
        line.add("peer", entry.peer)
        if entry.wasCut { line.add("cut", 1) }
        sink.append(line.finished())
    }
}
