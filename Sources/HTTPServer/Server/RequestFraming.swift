import HTTPTypes
import NIOHTTP1

/// What the head of an HTTP/1.1 request says of its body, checked before anything relies on it.
///
/// Two programs that read a head differently can be made to disagree where the next request begins, so what leaves room
/// for that is refused (RFC 9112, sections 3.2 and 6).
struct RequestFraming: Equatable {
    enum Fault: Error {
        case host, length, coding

        var status: HTTPResponse.Status {
            switch self {
            case .host, .length: .badRequest
            case .coding: .notImplemented
            }
        }

        var message: String {
            switch self {
            case .host: "a request has one Host header, with a host and perhaps a port"
            case .length: "the Content-Length is no number of bytes that can be sent"
            case .coding: "the only Transfer-Encoding that is taken is chunked, and only in HTTP/1.1"
            }
        }
    }

    let isChunked: Bool
    /// In bytes; nil if it is not said.
    let length: Int64?

    init(_ head: HTTPRequestHead) throws(Fault) {
        let isOld = head.version.minor < 1
        let hosts = head.headers["host"]
        guard hosts.count == 1 || hosts.isEmpty && isOld, hosts.allSatisfy(Self.isHost) else {
            throw .host
        }
        let codings = head.headers["transfer-encoding"]
        guard codings.isEmpty || codings.count == 1 && codings[0].lowercased() == "chunked" && !isOld
        else { throw .coding }
        isChunked = !codings.isEmpty
        var length: Int64?
        for text in head.headers["content-length"] {
            guard let value = Self.length(text), length == nil || length == value else { throw .length }
            length = value
        }
        self.length = length
    }

    /// A number of bytes that fits in 63 bits; nil for any other text.
    static func length(_ text: String) -> Int64? {
        text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int64(text) : nil
    }

    /// Whether a text can be a host and a port, or nothing (RFC 9110, section 7.2).
    static func isHost(_ text: String) -> Bool {
        text.utf8.count <= 261 && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"/?#@\\\"<>,".utf8.contains($0) }
    }
}
