import AsyncHTTPClient
import CLinux
import Foundation
import JSON
import NIOCore
import NIOHTTP1
public import OCI
import Synchronization

/// Reads one repository of another registry (OCI distribution specification, "Pull"). Documents and blobs are verified
/// against their digests.
///
/// Credentials go to the registry, or to the token server that it names; a token goes to the registry alone. A redirect
/// to another scheme, host or port is followed without either.
public final class RegistryClient: Sendable {
    /// How many times in a row a request is tried whose failure may be temporary.
    static let maximumAttempts = 6
    private static let maximumRedirects = 5
    private static let longestPause: Double = 30

    public let location: ImageLocation
    let access: RegistryAccess
    let http: HTTPClient
    private let pause: @Sendable (Duration) async throws -> Void
    /// The value of `Authorization`, once a challenge of the registry has been answered.
    private let authorization = Mutex<String?>(nil)

    private init(
        _ location: ImageLocation, _ access: RegistryAccess, _ http: HTTPClient,
        _ pause: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.location = location
        self.access = access
        self.http = http
        self.pause = pause
    }

    /// Runs a body with a client and closes its connections afterwards.
    /// - Parameter pause: waits for a duration, before a request is tried again.
    public static func with<Result: Sendable>(
        _ location: ImageLocation, _ access: RegistryAccess,
        pause: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        _ body: (RegistryClient) async throws -> Result
    ) async throws -> Result {
        try await HTTPClient.with(authority: access.authorityFile, silence: .seconds(60)) { http in
            try await body(RegistryClient(location, access, http, pause))
        }
    }

    private var base: String { "\(access.isPlain ? "http" : "https")://\(location.host)" }

    // MARK: Requests

    /// Asks the registry, again if that may help, until it answers 200, or 206 if a range was asked for.
    /// - Parameters:
    ///   - path: the path below the repository.
    ///   - offset: the offset of the first byte that is wanted.
    /// - Throws: `TransferError`, `CancellationError`.
    func get(_ path: String, accept: [String], from offset: Int64 = 0) async throws -> HTTPClientResponse {
        var attempt = 0
        var wasAuthorized = false
        while true {
            attempt += 1
            let response: HTTPClientResponse
            let isOwn: Bool
            do { (response, isOwn) = try await follow(base + "/v2/\(location.name)/" + path, accept, offset) } catch {
                guard Self.mayGetBetter(error), attempt < Self.maximumAttempts else { throw failure(error) }
                try await wait(attempt)
                continue
            }
            switch response.status.code {
            case 200, 206: return response
            case 401 where isOwn && !wasAuthorized:
                wasAuthorized = true
                attempt -= 1
                let value = try await authorize(response.headers["WWW-Authenticate"].flatMap(Challenge.parse))
                authorization.withLock { $0 = value }
            case 401, 403:
                throw refused(
                    "it does not let \(access.user.map { "'\($0)'" } ?? "those who don't say who they are") read "
                        + "\(location.name): check --source-user and --source-password-file")
            case 404: throw refused("it has no \(path.split(separator: "/").last ?? "") in \(location.name)")
            case 429, 500, 502, 503, 504:
                guard attempt < Self.maximumAttempts else {
                    throw refused("it answered \(response.status.code), \(attempt) times over: try again later")
                }
                try await wait(attempt, asked: response.headers.first(name: "Retry-After").flatMap(Double.init))
            default: throw refused("it answered \(response.status.code)")
            }
        }
    }

    /// Sends one request, and follows redirects.
    /// - Returns: the last answer, and whether it comes from the registry itself: no other server's challenge is
    ///   answered.
    private func follow(
        _ start: String, _ accept: [String], _ offset: Int64
    ) async throws -> (HTTPClientResponse, isOwn: Bool) {
        var url = start
        for _ in 0...Self.maximumRedirects {
            var request = HTTPClientRequest(url: url)
            request.headers.add(name: "User-Agent", value: "cistern")
            for type in accept { request.headers.add(name: "Accept", value: type) }
            if offset > 0 { request.headers.add(name: "Range", value: "bytes=\(offset)-") }
            let isOwn = Self.origin(url) == Self.origin(base)
            if isOwn, let value = authorization.withLock({ $0 }) {
                request.headers.add(name: "Authorization", value: value)
            }
            let response = try await http.execute(request, timeout: .hours(12))
            guard [301, 302, 303, 307, 308].contains(response.status.code),
                let target = response.headers.first(name: "Location")
            else { return (response, isOwn) }
            guard let next = URL(string: target, relativeTo: URL(string: url))?.absoluteURL,
                access.allows(next.scheme), next.host != nil
            else { throw refused("it redirects to where nothing can be fetched from safely") }
            url = next.absoluteString.withLowercaseScheme
        }
        throw refused("it redirects too often")
    }

    /// The scheme, host and port of a URL; nil if it lacks a scheme or a host.
    private static func origin(_ url: String) -> [String]? {
        guard let url = URL(string: url), let scheme = url.scheme?.lowercased(), let host = url.host else { return nil }
        return [scheme, host.lowercased(), String(url.port ?? (scheme == "https" ? 443 : 80))]
    }

    // MARK: Trying again

    func wait(_ attempt: Int, asked seconds: Double? = nil) async throws {
        let own = 0.5 * Double(1 << min(attempt - 1, 6)) * Double.random(in: 0.75...1.25)
        let seconds = seconds.map { $0.isFinite && $0 > own ? $0 : own } ?? own
        try await pause(.milliseconds(Int(min(seconds, Self.longestPause) * 1000)))
    }

    /// Whether trying again may help: false for errors of certificates, host names and URLs, and for refusals.
    static func mayGetBetter(_ error: any Error) -> Bool {
        if error is TransferError || error is CancellationError || error is UnsuitableImage { return false }
        let text = String(describing: error)
        return ![
            "CERTIFICATE", "ValidateCertificate", "ValidateHostname", "WRONG_VERSION", "UnknownHost", "invalidURL",
        ]
        .contains { text.contains($0) }
    }

    func failure(_ error: any Error) -> any Error {
        guard !(error is TransferError || error is CancellationError || error is UnsuitableImage) else { return error }
        let text = String(describing: error)
        let reason =
            if text.contains("CERTIFICATE") || text.contains("ValidateCertificate") {
                "its certificate is not trusted: give its authority with --source-ca"
            } else if text.contains("ValidateHostname") {
                "its certificate is for another name"
            } else if text.contains("WRONG_VERSION") {
                "it does not speak TLS (--plain-http asks without)"
            } else if text.contains("refused") || text.contains("ECONNREFUSED") {
                "nothing listens there"
            } else if text.contains("UnknownHost") {
                "there is no such host"
            } else if text.contains("imeout") {
                "it does not answer in time"
            } else {
                "the connection breaks off"
            }
        return TransferError.connection(server: location.host, reason: reason)
    }

    func refused(_ reason: String) -> TransferError { .source("the registry \(location.host): \(reason)") }
}

extension RegistryClient {
    private static let manifestTypes: [MediaType] = [.ociManifest, .ociIndex, .dockerManifest, .dockerManifestList]

    /// Reads the documents of the image for an architecture.
    /// - Throws: `UnsuitableImage`, `TransferError`.
    public func image(architecture: String) async throws -> FoundImage {
        let root = try await root()
        let finder = ImageFinder(architecture: architecture) { descriptor in
            if descriptor.digest == root.descriptor.digest { return root.bytes }
            let kind = Self.manifestTypes.contains(descriptor.mediaType) ? "manifests" : "blobs"
            return try await self.document("\(kind)/\(descriptor.digest)", [descriptor.mediaType.text]).bytes
        }
        return try await finder.find(in: [root.descriptor])
    }

    /// Reads the document that the location names. Its type is its own `mediaType` or, without one, the registry's
    /// `Content-Type`.
    private func root() async throws -> FoundImage.Document {
        let (bytes, type) = try await document(
            "manifests/\(location.digest)", Self.manifestTypes.map(\.text))
        let own = (try? JSONValue(parsing: bytes))?["mediaType"]?.string
        guard let type = try? MediaType(parsing: own ?? type), Self.manifestTypes.contains(type) else {
            throw UnsuitableImage("\(location.digest) is neither a manifest nor an index")
        }
        return FoundImage.Document(
            descriptor: Descriptor(mediaType: type, digest: location.digest, size: Int64(bytes.count)), bytes: bytes)
    }

    private func document(_ path: String, _ accept: [String]) async throws -> (bytes: [UInt8], type: String) {
        var attempt = 0
        while true {
            attempt += 1
            let response = try await get(path, accept: accept)
            do {
                let body = try await response.body.collect(upTo: ImageFinder.maximumDocument)
                let type = response.headers.first(name: "Content-Type")?.split(separator: ";").first
                return (Array(body.readableBytesView), String(type ?? ""))
            } catch is NIOTooManyBytesError {
                throw UnsuitableImage("\(path) has more than \(ImageFinder.maximumDocument) bytes")
            } catch {
                guard Self.mayGetBetter(error), attempt < Self.maximumAttempts else { throw failure(error) }
                try await wait(attempt)
            }
        }
    }

    /// The bytes of a blob. Reading them to the end throws unless all of them came and have the descriptor's digest.
    public func blob(_ descriptor: Descriptor) -> RemoteBlob { RemoteBlob(client: self, descriptor: descriptor) }
}

/// The credentials and the way by which another registry is asked.
public struct RegistryAccess: Sendable {
    let user: String?
    let password: String
    /// A PEM file with the authority that the registry's certificate must be signed by; nil: the system's.
    let authorityFile: String?
    /// Whether the registry is asked without TLS.
    let isPlain: Bool

    /// - Parameter user: the user to ask as; nil: requests are anonymous.
    public init(user: String? = nil, password: String = "", authorityFile: String? = nil, isPlain: Bool = false) {
        self.user = user
        self.password = password
        self.authorityFile = authorityFile
        self.isPlain = isPlain
    }

    /// Whether URLs of a scheme, in letters of any case, may be asked.
    func allows(_ scheme: String?) -> Bool {
        ["https", isPlain ? "http" : "https"].contains(scheme?.lowercased())
    }
}

extension RegistryAccess: CustomStringConvertible, CustomReflectable {
    /// The user; the password is left out.
    public var description: String { user ?? "nobody" }
    public var customMirror: Mirror { Mirror(self, children: ["user": user ?? ""]) }
}
