import HTTPTypes

/// What a Range header asks of a representation of known length (RFC 9110, section 14).
public enum ByteRange: Hashable, Sendable {
    /// No range, ones that are not understood, or more than it is worth to answer: the answer is the whole.
    case whole
    case part(Range<Int64>)
    /// Two or more, in the header's order; they may overlap, and together are no longer than the whole.
    case parts([Range<Int64>])
    case unsatisfiable

    /// How many ranges are answered: as many as Apache answers. Who asks for more gets the whole, as there (section 14.2
    /// lets a server do so); clients that ask for many ranges are prepared for it.
    static let maximumParts = 200

    /// Ranges that are together longer than the whole are answered with the whole, as nginx does.
    /// - Parameters:
    ///   - header: the field's value, for example `bytes=0-99`, `bytes=100-`, `bytes=-5` or `bytes=0-9,20-29`.
    ///   - length: in bytes.
    public init(_ header: String?, length: Int64) {
        self = .whole
        guard let header, header.utf8.count > 6, header.prefix(6).lowercased() == "bytes=" else { return }
        let items = header.dropFirst(6).split(separator: ",", omittingEmptySubsequences: false).map(Self.trim)
            .filter { !$0.isEmpty }
        guard (1...Self.maximumParts).contains(items.count) else { return }
        var ranges: [Range<Int64>] = []
        for item in items {
            guard let range = Self.range(item, length) else { return }
            if !range.isEmpty { ranges.append(range) }
        }
        // Subtracted rather than added up, since a sum might overflow.
        var left = length
        let fits = ranges.allSatisfy { range in
            let count = Int64(range.count)
            guard count <= left else { return false }
            left -= count
            return true
        }
        switch ranges.count {
        case 0: self = .unsatisfiable
        case 1: self = .part(ranges[0])
        default: if fits { self = .parts(ranges) }
        }
    }

    /// - Returns: nil if the text is no range; an empty one if there is nothing of what it asks for.
    private static func range(_ text: Substring, _ length: Int64) -> Range<Int64>? {
        let ends = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2 else { return nil }
        let (first, last) = (trim(ends[0]), trim(ends[1]))
        guard first.utf8.allSatisfy(isDigit), last.utf8.allSatisfy(isDigit) else { return nil }
        if first.isEmpty {
            return last.isEmpty ? nil : length - min(Int64(last) ?? .max, length)..<length
        }
        let start = Int64(first) ?? .max
        let end = last.isEmpty ? Int64.max : Int64(last) ?? .max
        guard start <= end else { return nil }
        return start < length ? start..<min(end, length - 1) + 1 : length..<length
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
