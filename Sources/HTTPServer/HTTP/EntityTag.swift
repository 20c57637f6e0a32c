import HTTPTypes

/// A strong entity tag (RFC 9110, section 8.8.3).
public struct EntityTag: Hashable, Sendable {
    /// With its quotes.
    public let text: String

    /// - Parameter opaque: printable ASCII without quotes, for example a digest.
    public init(_ opaque: String) { text = "\"\(opaque)\"" }

    /// The tag is in an If-None-Match list: compared weakly, `*` is every tag.
    func isListed(in header: String) -> Bool {
        header.split(separator: ",").contains { item in
            var item = item.drop { $0 == " " }
            while item.last == " " { item.removeLast() }
            if item.hasPrefix("W/") { item = item.dropFirst(2) }
            return item == "*" || item == text
        }
    }
}

extension Request {
    /// The client already has what this tag stands for (If-None-Match): answer 304.
    public func has(_ tag: EntityTag) -> Bool {
        guard method == .get || method == .head, let header = headers[.ifNoneMatch] else { return false }
        return tag.isListed(in: header)
    }
}
