import AsyncHTTPClient
import CLinux
import Glibc
import NIOCore
import NIOHTTP1
import NIOSSL
import OCI

/// Whom a task's TLS connections trust, and the certificate that they show.
package struct TaskTrust: Sendable {
    let configuration: TLSConfiguration
    /// As `configuration`, with the client's certificate: for the server that a URL of the task names, not for those
    /// that it redirects to.
    let ownConfiguration: TLSConfiguration
    let hasRoots: Bool

    /// - Parameters:
    ///   - authorities: PEM files of authorities that are trusted besides the system's.
    ///   - identity: PEM files of the certificate, and of its key, that a server may ask for.
    /// - Throws: `TransferFailure`, `.invalid`.
    package init(
        authorities: [String] = [], identity: (certificate: String, key: String)? = nil
    ) throws(TransferFailure) {
        var tls = TLSConfiguration.makeClientConfiguration()
        var certificates: [NIOSSLCertificate] = []
        for file in authorities {
            do { certificates += try NIOSSLCertificate.fromPEMFile(file) } catch {
                throw TransferFailure(.invalid, "the certificate authorities in \(file) can't be read")
            }
        }
        if !certificates.isEmpty { tls.additionalTrustRoots = [.certificates(certificates)] }
        let system = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs"]
        let hasSystem = system.contains { access($0, R_OK) == 0 }
        // Without a store of the system's, NIOSSL would fail on looking for it.
        if !hasSystem { tls.trustRoots = .certificates([]) }
        hasRoots = hasSystem || !certificates.isEmpty
        configuration = tls
        if let identity {
            do {
                tls.certificateChain = try NIOSSLCertificate.fromPEMFile(identity.certificate).map { .certificate($0) }
                tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: identity.key, format: .pem))
            } catch {
                throw TransferFailure(
                    .invalid, "the certificate \(identity.certificate) or its key \(identity.key) can't be read")
            }
        }
        ownConfiguration = tls
    }
}

/// What one request of an exchange led to.
private enum ExchangeStep<Value: Sendable>: Sendable {
    case done(Value)
    case redirected(String)
}

/// Speaks HTTP for a staging task: only with whom `DestinationRules` allow, with time-outs, and again where that may
/// help.
package struct TaskClient: Sendable {
    package struct Times: Sendable {
        /// How long a connection may take to come up.
        package var connect = Duration.seconds(10)
        /// How long the other side may send, or take, nothing.
        package var silence = Duration.seconds(60)
        /// How long one transfer may take, with all its attempts.
        package var whole = Duration.seconds(3600)
        /// How many times in a row a transfer is tried that makes no progress.
        package var attempts = 6
        /// The pause before the second attempt; it doubles from one to the next, and up to a quarter is taken off or
        /// put on by chance.
        package var firstPause = Duration.milliseconds(500)
        /// The longest pause, also where the server asks for a longer one.
        package var longestPause = Duration.seconds(60)

        package init() {}
    }

    static let maximumRedirects = 10
    /// The largest answer that is read for its text, in bytes.
    private static let maximumAnswer = 64 << 10

    let rules: DestinationRules
    let trust: TaskTrust
    let times: Times
    private let pause: @Sendable (Duration) async throws -> Void

    /// - Parameter pause: waits for a duration before an attempt.
    package init(
        rules: DestinationRules, trust: TaskTrust, times: Times = Times(),
        pause: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) {
        self.rules = rules
        self.trust = trust
        self.times = times
        self.pause = pause
    }

    struct Request {
        var method: HTTPMethod
        var url: TransferURL
        var headers: HTTPHeaders = [:]
        /// Makes the body; called once for each time it is sent.
        var body: (@Sendable () -> HTTPClientRequest.Body)?
    }

    // MARK: One attempt

    /// Sends a request, follows redirects, and hands over the answer, whatever its status. The connection is closed
    /// afterwards.
    ///
    /// User and password of the URL go to the server that it names and to no other. A request with a body follows only
    /// redirects that keep the method (307, 308).
    /// - Throws: `TransferFailure`; what `body` throws.
    func exchange<Value: Sendable>(
        _ request: Request, deadline: ContinuousClock.Instant,
        _ body: (HTTPClientResponse, _ url: TransferURL) async throws -> Value
    ) async throws -> Value {
        var url = request.url
        for _ in 0...Self.maximumRedirects {
            let isOwn = url.hasSameOrigin(as: request.url)
            var headers = request.headers
            headers.replaceOrAdd(name: "User-Agent", value: "cistern-staging")
            if isOwn, let credentials = request.url.credentials {
                headers.replaceOrAdd(
                    name: "Authorization",
                    value: "Basic " + Base64.encode(Array("\(credentials.user):\(credentials.password)".utf8)))
            }
            let addresses = try await rules.addresses(of: url)
            if url.scheme == .https, !trust.hasRoots {
                throw TransferFailure(
                    .untrusted, "\(url): there are no certificate authorities here: give their file with --ca")
            }
            let step: ExchangeStep<Value> = try await connected(to: url, addresses, isOwn: isOwn) { client in
                var prepared = HTTPClientRequest(url: url.withoutCredentials)
                prepared.method = request.method
                prepared.headers = headers
                prepared.body = request.body?()
                let response = try await client.execute(prepared, deadline: .now() + Self.amount(.now, deadline))
                guard [301, 302, 303, 307, 308].contains(response.status.code),
                    let location = response.headers.first(name: "Location")
                else { return .done(try await body(response, url)) }
                guard request.body == nil || [307, 308].contains(response.status.code) else {
                    throw TransferFailure(
                        .refused, "\(url) answers an upload with a redirect (\(response.status.code))")
                }
                return .redirected(location)
            }
            switch step {
            case .done(let value): return value
            case .redirected(let location): url = try url.following(location)
            }
        }
        throw TransferFailure(.refused, "\(request.url) redirects more than \(Self.maximumRedirects) times")
    }

    /// Runs a body with a client that connects to one of the addresses and nowhere else: the next one if the first
    /// ones can't be connected to.
    private func connected<Value: Sendable>(
        to url: TransferURL, _ addresses: [IPAddress], isOwn: Bool, _ body: (HTTPClient) async throws -> Value
    ) async throws -> Value {
        for (index, address) in addresses.enumerated() {
            var configuration = HTTPClient.Configuration()
            configuration.tlsConfiguration = isOwn ? trust.ownConfiguration : trust.configuration
            configuration.timeout = .init(
                connect: Self.amount(times.connect), read: Self.amount(times.silence),
                write: Self.amount(times.silence))
            configuration.redirectConfiguration = .disallow
            configuration.httpVersion = .http1Only
            configuration.connectionPool.retryConnectionEstablishment = false
            configuration.dnsOverride = [url.host: address.description]
            // Whatever the client made of the URL: nothing is sent to an address that was not judged.
            configuration.http1_1ConnectionDebugInitializer = { channel in
                let connected = channel.remoteAddress?.ipAddress.flatMap { IPAddress($0) }
                return connected == address
                    ? channel.eventLoop.makeSucceededVoidFuture()
                    : channel.eventLoop.makeFailedFuture(
                        TransferFailure(.forbidden, "\(url): connected to another address than was allowed"))
            }
            let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
            do {
                let value = try await body(client)
                try? await client.shutdown()
                return value
            } catch {
                try? await client.shutdown()
                if index + 1 < addresses.count, Self.isConnectFailure(error) { continue }
                throw failure(error, url)
            }
        }
        throw TransferFailure(.unreachable, "\(url.host) has no address")
    }

    private static func isConnectFailure(_ error: any Error) -> Bool {
        if error is TransferFailure { return false }
        let text = String(describing: error)
        return ["connectTimeout", "NIOConnectionError", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "refused"]
            .contains { text.contains($0) }
    }

    private static func amount(_ duration: Duration) -> TimeAmount {
        .nanoseconds(duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000)
    }

    private static func amount(_ start: ContinuousClock.Instant, _ end: ContinuousClock.Instant) -> TimeAmount {
        amount(max(.milliseconds(1), end - start))
    }

    // MARK: Errors

    /// An error of the client as a sentence with what to do.
    func failure(_ error: any Error, _ url: TransferURL) -> any Error {
        if error is TransferFailure || error is CancellationError { return error }
        let text = String(describing: error)
        func has(_ parts: String...) -> Bool { parts.contains { text.contains($0) } }
        if has("CERTIFICATE_VERIFY_FAILED", "unableToValidateCertificate") {
            return TransferFailure(
                .untrusted, "\(url): the certificate is signed by nobody who is trusted: give its authority with --ca")
        }
        if has("alidateHostname") {
            return TransferFailure(.untrusted, "\(url): the certificate is for another name")
        }
        if has("WRONG_VERSION_NUMBER") {
            return TransferFailure(.untrusted, "\(url): the server does not speak TLS")
        }
        let reason =
            if has("ECONNREFUSED", "onnection refused") {
                "nothing listens there"
            } else if has("imeout", "deadlineExceeded") {
                "the server does not answer, or stops in the middle"
            } else {
                "the connection breaks off"
            }
        return TransferFailure(.unreachable, "\(url): \(reason)")
    }

    /// The failure that an answer is. Its body, which may say why, is shown up to 200 characters.
    func refusal(_ response: HTTPClientResponse, _ url: TransferURL) async -> TransferFailure {
        let status = response.status.code
        let body = try? await response.body.collect(upTo: Self.maximumAnswer)
        let text = body.map { String(decoding: $0.readableBytesView, as: UTF8.self) } ?? ""
        let words = text.split(whereSeparator: { $0.isWhitespace || ($0.asciiValue ?? 32) < 32 })
        let said = TransferURL.maskedText(String(words.joined(separator: " ").prefix(200)))
        let what = "\(url) answers \(status)" + (said.isEmpty ? "" : ": \(said)")
        switch status {
        case 404, 410: return TransferFailure(.notFound, what)
        case 408, 425, 429,
            500...599 where status != 501 && status != 505 && status != 507:
            return TransferFailure(
                .unreachable, what, mayGetBetter: true,
                pause: response.headers.first(name: "Retry-After").flatMap(Double.init))
        case 401, 403:
            return TransferFailure(.refused, "\(what): the URL's user, password or signature is wrong or has expired")
        default: return TransferFailure(.refused, what)
        }
    }

    // MARK: Trying again

    /// Runs attempts until one succeeds, one fails for good, or the time is over.
    /// - Parameter attempt: throws; it says by `progress` whether it got further than the attempt before.
    func retrying<Value>(
        _ url: TransferURL, log: @Sendable (String) -> Void,
        _ attempt: (_ deadline: ContinuousClock.Instant, _ progress: inout Bool) async throws -> Value
    ) async throws -> Value {
        let deadline = ContinuousClock.now + times.whole
        var failures = 0
        while true {
            var progress = false
            let error: any Error
            do { return try await attempt(deadline, &progress) } catch let caught { error = failure(caught, url) }
            guard let failure = error as? TransferFailure, failure.mayGetBetter else { throw error }
            failures = progress ? 1 : failures + 1
            guard failures < times.attempts else {
                throw TransferFailure(
                    failure.kind, "\(failure.description) (tried \(failures) times): try again later",
                    mayGetBetter: false)
            }
            let own = times.firstPause * Double(1 << min(failures - 1, 16)) * Double.random(in: 0.75...1.25)
            let asked = failure.pause.flatMap { $0.isFinite && $0 >= 0 ? Duration.seconds(min($0, 86400)) : nil }
            let pause = min(max(own, asked ?? .zero), times.longestPause)
            guard ContinuousClock.now + pause < deadline else {
                throw TransferFailure(.timedOut, "\(failure.description); there is no time left to try again")
            }
            log("\(failure.description); trying again")
            try await self.pause(pause)
        }
    }
}
