import AsyncHTTPClient
import NIOCore

/// Which lines of a container's log are wanted (Kubernetes API reference, "Pod", "read log of the specified Pod").
package struct LogOptions: Sendable {
    /// nil for the only container.
    package var container: String?
    /// Whether lines that come later are sent as well, until the container ends.
    package var follow = false
    /// Whether the log of the container's last run is meant.
    package var previous = false
    /// Whether each line begins with its time.
    package var timestamps = false
    package var sinceSeconds: Int?
    /// Goes before `sinceSeconds`.
    package var sinceTime: APITime?
    package var tailLines: Int?
    /// Bytes, after which the server ends the log.
    package var limitBytes: Int?
    /// How long the log may be read.
    package var whole = Duration.seconds(3600)

    package init() {}
}

/// A log's bytes as they come. It throws `KubernetesError.unreachable` if the connection breaks: whoever wants the rest
/// asks again with `sinceTime` and looks at the times.
package struct PodLog: AsyncSequence, Sendable {
    package typealias Element = [UInt8]

    private let body: HTTPClientResponse.Body
    private let client: KubernetesClient
    private let deadline: Int64

    fileprivate init(_ body: HTTPClientResponse.Body, _ client: KubernetesClient, _ deadline: Int64) {
        (self.body, self.client, self.deadline) = (body, client, deadline)
    }

    package func makeAsyncIterator() -> Iterator {
        Iterator(body: body.makeAsyncIterator(), timing: client.timing, deadline: deadline)
    }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate var body: HTTPClientResponse.Body.AsyncIterator
        fileprivate let timing: KubernetesClient.Timing
        fileprivate let deadline: Int64

        package mutating func next() async throws -> [UInt8]? {
            do {
                guard timing.monotonic() < deadline else { throw KubernetesError.timedOut("reading a log") }
                let chunk = try await body.next()
                try Task.checkCancellation()
                return chunk.map { Array($0.readableBytesView) }
            } catch let error as KubernetesError {
                throw error
            } catch {
                try Task.checkCancellation()
                throw KubernetesError.unreachable("a log breaks off")
            }
        }
    }
}

extension KubernetesClient {
    /// Reads a container's log as it comes and hands it over piece by piece.
    /// - Parameter body: gets the log; what it leaves unread is given up.
    /// - Throws: `KubernetesError`, `CancellationError`; what the body throws.
    package func withLog<Value: Sendable>(
        of pod: String, namespace: String, _ options: LogOptions = LogOptions(),
        _ body: @escaping @Sendable (PodLog) async throws -> Value
    ) async throws -> Value {
        func flag(_ value: Bool) -> String? { value ? "true" : nil }
        let path =
            try Resource.pods.path(namespace: namespace, name: pod, subresource: "log")
            + query([
                ("container", options.container), ("follow", flag(options.follow)),
                ("previous", flag(options.previous)), ("timestamps", flag(options.timestamps)),
                ("sinceSeconds", options.sinceTime == nil ? options.sinceSeconds.map { String($0) } : nil),
                ("sinceTime", options.sinceTime?.text), ("tailLines", options.tailLines.map { String($0) }),
                ("limitBytes", options.limitBytes.map { String($0) }),
            ])
        let deadline = timing.monotonic() + options.whole.nanoseconds
        do {
            // A log that is followed may say nothing for as long as it may take in all.
            return try await withTimeLimit(options.whole) { [self] in
                let response = try await open(Call(path: path, isRepeatable: true), .log)
                return try await body(PodLog(response.body, self, deadline))
            }
        } catch is TimeLimitExceeded {
            throw KubernetesError.timedOut("reading the log of \(namespace)/\(pod)")
        }
    }
}
