public import HTTPTypes
public import JSON

/// A route's answer. The server adds Content-Length, Date and the request id, and leaves out the body for HEAD.
public struct Response: Sendable {
    public var status: HTTPResponse.Status
    public var headers: HTTPFields
    public var body: ResponseBody

    public init(status: HTTPResponse.Status = .ok, headers: HTTPFields = [:], body: ResponseBody = .none) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    public static func bytes(
        _ bytes: [UInt8], contentType: String, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) -> Response {
        var response = Response(status: status, headers: headers, body: .bytes(bytes))
        response.headers[.contentType] = contentType
        return response
    }

    public static func text(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
        bytes(Array(text.utf8), contentType: "text/plain; charset=utf-8", status: status)
    }

    public static func json(
        _ value: JSONValue, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) -> Response {
        bytes(value.canonicalBytes, contentType: "application/json", status: status, headers: headers)
    }

    /// An answer whose bytes are made while they are sent.
    /// - Parameters:
    ///   - length: in bytes, if it is known: exactly so many must be written.
    ///   - write: called with a function that takes bytes at the client's pace.
    public static func stream(
        contentType: String, length: Int64? = nil, headers: HTTPFields = [:],
        _ write: @escaping @Sendable (_ send: ([UInt8]) async throws -> Void) async throws -> Void
    ) -> Response {
        var response = Response(headers: headers, body: .stream(length: length, write: write))
        response.headers[.contentType] = contentType
        return response
    }

    /// A file, or the part or parts of it that the request asks for: 200, 206, 304 or 416.
    ///
    /// The file is closed when the response is through, however it ends.
    /// - Parameters:
    ///   - tag: what If-None-Match and If-Range are compared with.
    ///   - headers: sent with each of these statuses.
    public static func file(
        _ file: ResponseFile, for request: Request, contentType: String, tag: EntityTag? = nil,
        headers: HTTPFields = [:]
    ) -> Response {
        var response = Response(headers: headers)
        response.headers[.acceptRanges] = "bytes"
        if let tag { response.headers[.eTag] = tag.text }
        if let tag, request.has(tag) {
            response.status = .notModified
            response.body = .file(file, 0..<0)
            return response
        }
        switch request.range(of: file.length, tag: tag) {
        case .whole:
            response.body = .file(file, 0..<file.length)
        case .part(let range):
            response.status = .partialContent
            response.headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(file.length)"
            response.body = .file(file, range)
        case .parts(let ranges):
            let parts = MultipartRanges(ranges, contentType: contentType, of: file.length)
            response.status = .partialContent
            response.headers[.contentType] = parts.type
            response.body = .parts(file, parts)
            return response
        case .unsatisfiable:
            response.status = .rangeNotSatisfiable
            response.headers[.contentRange] = "bytes */\(file.length)"
            response.body = .file(file, 0..<0)
        }
        response.headers[.contentType] = contentType
        return response
    }
}

public enum ResponseBody: Sendable {
    case none
    case bytes([UInt8])
    case file(ResponseFile, Range<Int64>)
    case parts(ResponseFile, MultipartRanges)
    case stream(
        length: Int64?, write: @Sendable (_ send: ([UInt8]) async throws -> Void) async throws -> Void)

    /// In bytes; nil if it is not known before the body is sent.
    var length: Int64? {
        switch self {
        case .none: 0
        case .bytes(let bytes): Int64(bytes.count)
        case .file(_, let range): Int64(range.count)
        case .parts(_, let parts): parts.length
        case .stream(let length, _): length
        }
    }
}
