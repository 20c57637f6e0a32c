import AsyncHTTPClient
package import JSON
import NIOCore
import NIOHTTP1

/// Tells the cloud controller what came of bits: `PATCH <base>/<kind>/<guid>`.
package struct ControllerClient: Sendable {
    /// Without a slash at its end. It may have user and password in it.
    private let base: String
    private let client: TaskClient
    private let whole: Duration

    /// - Parameters:
    ///   - url: what the paths begin with, as in `https://cloud-controller:9023/internal/v4`. Its host may have any
    ///     address: it is the operator's word.
    ///   - authority: a PEM file of authorities that are trusted besides the system's.
    ///   - identity: PEM files of the certificate that is shown, and of its key.
    /// - Throws: `TransferFailure`.
    package init(
        url: String, authority: String?, identity: (certificate: String, key: String)?
    ) throws(TransferFailure) {
        let parsed = try TransferURL(url)
        guard parsed.query == nil, parsed.fragment == nil, [.http, .https].contains(parsed.scheme),
            let host = DestinationRules.AllowedHost(parsed.host.contains(":") ? "[\(parsed.host)]" : parsed.host)
        else { throw TransferFailure(.invalid, "\(parsed): this is no http or https URL with a path alone") }
        base = url.hasSuffix("/") ? String(url.dropLast()) : url
        var times = TaskClient.Times()
        times.silence = .seconds(30)
        whole = .seconds(60)
        client = TaskClient(
            rules: DestinationRules(allowedHosts: [host], allowsPlain: true),
            trust: try TaskTrust(authorities: authority.map { [$0] } ?? [], identity: identity), times: times)
    }

    /// Sends one message once. What the controller refuses for good (4xx) counts as told: it knows already, or does not
    /// want to know.
    /// - Parameters:
    ///   - path: below the base, of unreserved characters and slashes.
    /// - Returns: the status.
    /// - Throws: `TransferFailure` if it may be told at another time.
    package func patch(_ path: String, _ message: JSONValue) async throws -> Int {
        let bytes = message.canonicalBytes
        var request = TaskClient.Request(method: .PATCH, url: try TransferURL("\(base)/\(path)"))
        request.headers = ["Content-Type": "application/json", "Content-Length": "\(bytes.count)"]
        request.body = { .bytes(ByteBuffer(bytes: bytes)) }
        return try await client.exchange(request, deadline: .now + whole) { response, url in
            let status = Int(response.status.code)
            switch status {
            case 200..<300: return status
            case 408, 429, 500...: throw TransferFailure(.unreachable, "\(url) answers \(status)")
            default: return status
            }
        }
    }
}
