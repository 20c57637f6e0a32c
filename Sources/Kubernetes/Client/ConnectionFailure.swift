import AsyncHTTPClient
import NIOCore
import NIOPosix
import NIOSSL

/// Why there is no answer, by what is known of the request: it never left, or it may have been done.
enum ConnectionFailure {
    case notSent(String)
    case lost(String)
    case untrusted(String)
    case tooLarge

    /// - Parameter sent: whether the request was handed to the HTTP client.
    init(_ error: any Error, sent: Bool) {
        let text = String(describing: error)
        func has(_ parts: String...) -> Bool { parts.contains { text.contains($0) } }
        if error is NIOTooManyBytesError {
            self = .tooLarge
        } else if has("CERTIFICATE_VERIFY_FAILED", "unableToValidateCertificate") {
            self = .untrusted("its certificate is signed by nobody who is trusted")
        } else if has("alidateHostname") {
            self = .untrusted("its certificate is for another name")
        } else if has("WRONG_VERSION_NUMBER") {
            self = .untrusted("it does not speak TLS")
        } else if has("ECONNREFUSED", "onnection refused") {
            self = .notSent("nothing listens there")
        } else if let error = error as? HTTPClientError,
            [
                .connectTimeout, .getConnectionFromPoolTimeout, .tlsHandshakeTimeout, .httpProxyHandshakeTimeout,
                .socksHandshakeTimeout, .proxyAuthenticationRequired, .invalidProxyResponse,
            ].contains(error)
        {
            self = .notSent("no connection to it comes up")
        } else if error is NIOConnectionError || has("UnknownHost") {
            self = .notSent("there is no such host, or no way to it")
        } else if error is TimeLimitExceeded || has("imeout", "deadlineExceeded") {
            self = sent ? .lost("it does not answer") : .notSent("other requests take too long")
        } else {
            self = sent ? .lost("the connection breaks off") : .notSent("the connection breaks off")
        }
    }

    var reason: String {
        switch self {
        case .notSent(let reason), .lost(let reason), .untrusted(let reason): reason
        case .tooLarge: "the answer is too large"
        }
    }

    var isLost: Bool { if case .lost = self { true } else { false } }
}

/// A time limit of `withTimeLimit` was over.
struct TimeLimitExceeded: Error {}

/// Runs a body, which is cancelled when the time is over.
/// - Throws: `TimeLimitExceeded`; what the body throws.
func withTimeLimit<Value: Sendable>(
    _ limit: Duration, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        while let first = try await group.next() {
            guard let value = first else { throw TimeLimitExceeded() }
            return value
        }
        throw TimeLimitExceeded()
    }
}

extension Duration {
    var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max / 4 : min(whole, .max / 4) + attoseconds / 1_000_000_000
    }
}

extension Channel {
    /// Has the system ask a silent peer after half a minute whether it is still there, and give up after two.
    func keepingAlive() -> EventLoopFuture<Void> {
        self.setOption(.socketOption(.so_keepalive), value: 1)
            .flatMap { self.setOption(.tcpOption(.init(rawValue: 4)), value: 30) }  // TCP_KEEPIDLE
            .flatMap { self.setOption(.tcpOption(.init(rawValue: 5)), value: 30) }  // TCP_KEEPINTVL
            .flatMap { self.setOption(.tcpOption(.init(rawValue: 6)), value: 4) }  // TCP_KEEPCNT
    }
}
