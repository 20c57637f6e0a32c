import AsyncHTTPClient
import CLinux
import Glibc
package import JSON
import NIOCore
import NIOHTTP1
import OCI
package import OperatorModel

/// A client of a Cistern server's own API.
public struct ServerClient: Sendable {
    /// The largest answer that is read, in bytes.
    static let maximumAnswer = 16 << 20

    let connection: ServerConnection
    let http: HTTPClient

    /// Runs a body with a client and closes its connections afterwards.
    public static func with<Result: Sendable>(
        _ connection: ServerConnection, _ body: (ServerClient) async throws -> Result
    ) async throws -> Result {
        try await HTTPClient.with(authority: connection.authorityFile, silence: .seconds(300)) { http in
            try await body(ServerClient(connection: connection, http: http))
        }
    }

    /// Sends a request without a body, or with a JSON one, and reads the answer, which is `null` if it has no body.
    /// - Parameter path: the path with its query, percent-encoded.
    /// - Throws: `TransferError`, `CancellationError`.
    package func send<Answer: Model>(
        _ method: HTTPMethod, _ path: String, _ body: JSONValue? = nil
    ) async throws -> Answer {
        var request = request(method.rawValue, path)
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(body.canonicalBytes)
        }
        return try await answer(to: request)
    }

    /// Has the server sign a URL, by which whoever has it may do one thing within the hour, and nothing else.
    /// - Parameters:
    ///   - method: GET, PUT or POST.
    ///   - path: with its query, percent-encoded.
    /// - Throws: `TransferError`, `CancellationError`.
    package func signedURL(_ method: HTTPMethod, _ path: String) async throws -> String {
        let mark = path.contains("?") ? "&" : "?"
        let request = request("GET", "/sign\(path)\(mark)verb=\(method.rawValue.lowercased())")
        let (response, body) = try await exchange(request, deadline: .minutes(1))
        guard response.status == .ok else {
            throw Self.refusal(response, try? JSONValue(parsing: body.readableBytesView))
        }
        return String(buffer: body)
    }

    /// Sends a file, read as fast as the server takes it.
    /// - Parameter progress: called with the bytes sent so far.
    package func upload<Answer: Model>(
        _ file: UploadFile, to path: String, progress: @escaping @Sendable (Int64) -> Void
    ) async throws -> Answer {
        try await upload(UploadBody(file.chunks, length: file.size), to: path, progress: progress)
    }

    /// Sends the bytes of a sequence, as fast as the server takes them.
    /// - Parameter progress: called with the bytes sent so far.
    package func upload<Bytes, Answer: Model>(
        _ body: UploadBody<Bytes>, to path: String, progress: @escaping @Sendable (Int64) -> Void
    ) async throws -> Answer {
        var request = request("PUT", path)
        request.headers.add(name: "Content-Type", value: body.contentType)
        for (name, value) in body.headers { request.headers.add(name: name, value: value) }
        request.body = .stream(CountedChunks(bytes: body.bytes, progress: progress), length: .known(body.length))
        return try await answer(to: request, deadline: .hours(24))
    }

    public enum HTTPMethod: String, Sendable {
        case get = "GET"
        case put = "PUT"
        case post = "POST"
        case delete = "DELETE"
    }

    func request(_ method: String, _ path: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: connection.url + path)
        request.method = .init(rawValue: method)
        request.headers.add(name: "User-Agent", value: "cistern")
        request.headers.add(name: "Accept", value: "application/json")
        request.setBasicAuth(username: connection.user, password: connection.password)
        return request
    }

    private func exchange(
        _ request: HTTPClientRequest, deadline: TimeAmount
    ) async throws -> (HTTPClientResponse, ByteBuffer) {
        do {
            let response = try await http.execute(request, timeout: deadline)
            return (response, try await response.body.collect(upTo: Self.maximumAnswer))
        } catch {
            throw failure(error)
        }
    }

    private func answer<Answer: Model>(
        to request: HTTPClientRequest, deadline: TimeAmount = .minutes(10)
    ) async throws -> Answer {
        let (response, body) = try await exchange(request, deadline: deadline)
        let json = body.readableBytes == 0 ? nil : try? JSONValue(parsing: body.readableBytesView)
        guard (200..<300).contains(response.status.code) else {
            throw Self.refusal(response, json)
        }
        guard json != nil || body.readableBytes == 0 else { throw TransferError.unexpected("it is not JSON") }
        do { return try Answer(json: json ?? .null) } catch let error as ModelError {
            throw TransferError.unexpected("\(error)")
        }
    }

    static func refusal(_ response: HTTPClientResponse, _ json: JSONValue?) -> TransferError {
        let (code, message) = refusal(json)
        return .refused(
            status: Int(response.status.code), code: code, message: message,
            requestID: printable(response.headers.first(name: "X-Request-Id") ?? "", 64))
    }

    /// The code and message of an error body, in any of the forms that the server's APIs use.
    private static func refusal(_ json: JSONValue?) -> (code: String, message: String) {
        let error = json?["errors"]?.array?.first ?? json ?? .null
        let code = error["code"]?.string ?? error["code"]?.integer.map { String($0) } ?? ""
        let message = ["message", "description", "error"].lazy.compactMap { error[$0]?.string }.first ?? ""
        return (printable(code, 64), printable(message, 1000))
    }

    private static func printable(_ text: String, _ maximum: Int) -> String {
        String(
            String.UnicodeScalarView(text.unicodeScalars.prefix(maximum).filter { $0.value >= 32 && $0.value != 127 }))
    }

    /// What is thrown for an error of a request or of one of its bodies.
    private func failure(_ error: any Error) -> any Error {
        if error is TransferError || error is UnsuitableImage || error is CancellationError { return error }
        return TransferError.connection(server: connection.url, reason: reason(error))
    }

    /// Why there is no answer, and what the user can check.
    private func reason(_ error: any Error) -> String {
        let text = String(describing: error)
        return if text.contains("CERTIFICATE_VERIFY_FAILED") {
            connection.authorityFile == nil
                ? "its certificate is signed by nobody whom this machine knows: give its authority with --ca or CISTERN_CA"
                : "its certificate is not signed by the given authority: check --ca"
        } else if text.contains("unableToValidateCertificate") || text.contains("failedToValidateHostname") {
            "its certificate is for another name: call the server by a name that its certificate has"
        } else if text.contains("WRONG_VERSION_NUMBER") {
            "it does not speak TLS: is its URL http://…?"
        } else if text.contains("remoteConnectionClosed"), connection.url.hasPrefix("http:") {
            "it closed the connection: is its URL https://…?"
        } else if text.contains("Connection refused") || text.contains("ECONNREFUSED") {
            "nothing listens there: is `cistern serve` running?"
        } else if text.contains("UnknownHost") {
            "there is no such host"
        } else if text.contains("connectTimeout") {
            "it does not answer"
        } else {
            Self.printable(text, 300)
        }
    }
}

extension ServerClient {
    /// The size and digest of a file that was downloaded.
    public struct Download: Sendable {
        /// The file's size in bytes.
        public let size: Int64
        /// The digest that the server announced, and that the bytes have.
        public let digest: String
    }

    /// Writes an answer's body into a new file, which exists whole in the end or not at all. Its digest must be the one
    /// in the answer's `ETag`.
    /// - Parameters:
    ///   - path: the path with its query, percent-encoded.
    ///   - file: the new file's path.
    ///   - progress: called with the bytes received so far.
    /// - Throws: `TransferError`, also if the file exists already.
    public func download(
        _ path: String, to file: String, progress: @Sendable (Int64) -> Void
    ) async throws -> Download {
        let target = try DownloadFile(path: file)
        let response: HTTPClientResponse
        do { response = try await http.execute(request("GET", path), timeout: .hours(24)) } catch {
            throw failure(error)
        }
        guard response.status == .ok else {
            let body = try? await response.body.collect(upTo: 64 << 10)
            throw Self.refusal(response, body.flatMap { try? JSONValue(parsing: $0.readableBytesView) })
        }
        let tag = response.headers.first(name: "ETag")?.filter { $0 != "\"" } ?? ""
        guard let announced = try? Digest(parsing: tag) else {
            throw TransferError.unexpected("it does not say what the file's digest is")
        }
        var hasher = DigestHasher(announced.algorithm)
        var size: Int64 = 0
        do {
            for try await buffer in response.body {
                try target.write(Array(buffer.readableBytesView))
                hasher.update(buffer.readableBytesView)
                size += Int64(buffer.readableBytes)
                progress(size)
            }
        } catch {
            throw failure(error)
        }
        guard hasher.finish() == announced else {
            throw TransferError.unexpected("the bytes received are not \(announced): try again")
        }
        try target.finish()
        return Download(size: size, digest: announced.description)
    }
}

/// A new file that gets its name when all of it has been written. If it is released before that, nothing is left of it.
final class DownloadFile {
    private let path: String
    private let temporary: String
    private let descriptor: Int32

    /// - Throws: `TransferError.file`, also if the path exists already.
    init(path: String) throws(TransferError) {
        self.path = path
        temporary = "\(path).part-\(getpid())"
        guard access(path, F_OK) != 0 else { throw .file(path: path, reason: "it is there already") }
        // The properties are set when the file is ours, so that a failure releases nothing and `deinit` does not run.
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw .file(path: path, reason: Self.lastError) }
        descriptor = file
    }

    deinit {
        close(descriptor)
        unlink(temporary)
    }

    func write(_ bytes: [UInt8]) throws(TransferError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .file(path: path, reason: Self.lastError) }
            rest = rest.dropFirst(count)
        }
    }

    func finish() throws(TransferError) {
        // link(2), unlike rename(2), fails if a file of that name has come into being meanwhile.
        guard fsync(descriptor) == 0, link(temporary, path) == 0 else {
            throw .file(path: path, reason: Self.lastError)
        }
    }

    private static var lastError: String { String(cString: strerror(errno)) }
}
