import HTTPTypes

/// Several ranges of a file as one body: `multipart/byteranges` (RFC 9110, section 14.6).
public struct MultipartRanges: Sendable {
    /// In the order in which they are sent.
    let ranges: [Range<Int64>]
    /// The body's length, in bytes.
    let length: Int64
    private let boundary: String
    private let contentType: String
    private let whole: Int64

    /// - Parameters:
    ///   - contentType: the file's.
    ///   - whole: the file's length in bytes.
    init(_ ranges: [Range<Int64>], contentType: String, of whole: Int64) {
        self.ranges = ranges
        self.contentType = contentType
        self.whole = whole
        var generator = SystemRandomNumberGenerator()
        // So random that no file contains it.
        boundary = (0..<2).map { _ in String(generator.next() as UInt64, radix: 36) }.joined()
        var length: Int64 = 0
        for range in ranges {
            length += Int64(Self.head(of: range, boundary, contentType, whole).utf8.count) + Int64(range.count)
        }
        self.length = length + Int64(Self.end(boundary).utf8.count)
    }

    /// The whole body's Content-Type.
    var type: String { "multipart/byteranges; boundary=\(boundary)" }

    /// What stands before a range's bytes.
    func head(of range: Range<Int64>) -> String { Self.head(of: range, boundary, contentType, whole) }

    /// What stands behind the last range's bytes.
    var end: String { Self.end(boundary) }

    private static func head(
        of range: Range<Int64>, _ boundary: String, _ contentType: String, _ whole: Int64
    ) -> String {
        """
        \r\n--\(boundary)\r\nContent-Type: \(contentType)\r
        Content-Range: bytes \(range.lowerBound)-\(range.upperBound - 1)/\(whole)\r\n\r\n
        """
    }

    private static func end(_ boundary: String) -> String { "\r\n--\(boundary)--\r\n" }
}
