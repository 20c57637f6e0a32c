import HTTPTypes
import NIOHPACK

/// Requests and responses as HTTP/2 writes them (RFC 9113, section 8).
enum HTTP2Message {
    /// Why a request is not handed on.
    enum Refusal: Error {
        case malformed
        case headersTooLarge
    }

    /// Turns header fields into a request as HTTP/1.1 would have given it. NIO has checked that the fields are
    /// allowed.
    /// - Parameter hasBody: whether the stream goes on after the fields.
    static func request(
        _ headers: HPACKHeaders, hasBody: Bool, limits: ServerLimits
    ) throws(Refusal) -> HTTPRequest {
        var (method, path, authority, host): (String?, String?, String?, String?)
        var fields = HTTPFields()
        fields.reserveCapacity(headers.count)
        for (name, value, _) in headers {
            guard name.utf8.count + value.utf8.count <= limits.headerField else { throw .headersTooLarge }
            switch name {
            case ":method": method = value
            case ":path": path = value
            case ":authority": authority = value
            case "host":
                guard host == nil else { throw .malformed }
                host = value
            // If the field comes several times, all of them say the same.
            case "content-length":
                guard RequestFraming.length(value) != nil else { throw .malformed }
                fields[.contentLength] = value
            default:
                if name.utf8.first == UInt8(ascii: ":") { continue }
                guard let name = HTTPField.Name(name) else { throw .malformed }
                fields.append(HTTPField(name: name, value: value))
            }
        }
        guard fields.count <= limits.headerCount else { throw .headersTooLarge }
        guard let path, path.utf8.first == UInt8(ascii: "/"), let method = method.flatMap({ HTTPRequest.Method($0) })
        else { throw .malformed }
        // Both say whom the client asked (RFC 9113, section 8.3.1).
        guard let asked = authority ?? host, RequestFraming.isHost(asked), host ?? asked == asked else {
            throw .malformed
        }
        // A body without a length is marked as chunked, as in HTTP/1.1: that is how the server knows that there is
        // one.
        if hasBody, fields[.contentLength] == nil { fields[.transferEncoding] = "chunked" }
        return HTTPRequest(method: method, scheme: "https", authority: asked, path: path, headerFields: fields)
    }

    static func headers(of response: HTTPResponse) -> HPACKHeaders {
        var headers = HPACKHeaders()
        headers.reserveCapacity(response.headerFields.count + 1)
        headers.add(name: ":status", value: String(response.status.code))
        for field in response.headerFields where !belongsToConnection(field.name) {
            headers.add(name: field.name.canonicalName, value: field.value)
        }
        return headers
    }

    /// HTTP/2 has other means for these fields and forbids them (RFC 9113, section 8.2.2).
    private static func belongsToConnection(_ name: HTTPField.Name) -> Bool {
        name == .connection || name == .transferEncoding || name == .upgrade
    }
}
