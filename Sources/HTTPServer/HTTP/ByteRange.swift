import HTTPTypes

/// What a Range header asks of a representation of known length (RFC 9110, section 14).
public enum ByteRange: Hashable, Sendable {
    /// No range, one that is not understood, or several: they are answered with the whole.
    case whole
    case part(Range<Int64>)
    case unsatisfiable

    /// - Parameters:
    ///   - header: the field's value, for example `bytes=0-99`, `bytes=100-` or `bytes=-5`.
    ///   - length: in bytes.
    public init(_ header: String?, length: Int64) {
        self = .whole
        guard let header, header.lowercased().hasPrefix("bytes=") else { return }
        let ends = header.dropFirst(6).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2 else { return }
        let (first, last) = (Self.trim(ends[0]), Self.trim(ends[1]))
        guard first.utf8.allSatisfy(Self.isDigit), last.utf8.allSatisfy(Self.isDigit) else { return }
        if first.isEmpty {
            guard !last.isEmpty else { return }
            let count = min(Int64(last) ?? .max, length)
            self = count == 0 ? .unsatisfiable : .part(length - count..<length)
            return
        }
        let start = Int64(first) ?? .max
        let end = last.isEmpty ? Int64.max : Int64(last) ?? .max
        guard start <= end else { return }
        self = start >= length ? .unsatisfiable : .part(start..<min(end, length - 1) + 1)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func trim(_ text: Substring) -> Substring {
        var text = text
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}

extension Request {
    /// The part that the client asks for. A range is ignored if its condition (If-Range) is another tag or a date.
    func range(of length: Int64, tag: EntityTag?) -> ByteRange {
        guard method == .get, let header = headers[.range] else { return .whole }
        if let condition = headers[.ifRange], condition != tag?.text { return .whole }
        return ByteRange(header, length: length)
    }
}

/// A strong entity tag (RFC 9110, section 8.8.3).
public struct EntityTag: Hashable, Sendable {
    /// With its quotes.
    public let text: String

    /// - Parameter opaque: printable ASCII without quotes, for example a digest.
    public init(_ opaque: String) { text = "\"\(opaque)\"" }

    /// Whether an If-None-Match list has the tag, compared weakly, or `*`.
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
    /// Whether the client already has what this tag stands for (If-None-Match), so that the answer is 304.
    public func has(_ tag: EntityTag) -> Bool {
        guard method == .get || method == .head, let header = headers[.ifNoneMatch] else { return false }
        return tag.isListed(in: header)
    }
}
