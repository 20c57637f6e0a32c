/// A JSON value (RFC 8259) that keeps a number's own text, so that what is read and written again does not change.
public enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// The number's text as it stands in the document, for example `"1"`, `"-0.5"` or `"1e9"`.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])
}

extension JSONValue {
    /// An integer as a JSON number.
    public static func integer(_ value: some BinaryInteger) -> JSONValue { .number(String(value)) }

    /// The member of an object, or nil if this is no object or has no such member.
    public subscript(_ name: String) -> JSONValue? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    public var object: [String: JSONValue]? { if case .object(let value) = self { value } else { nil } }

    /// The value as a whole number; nil for anything else, fractions, exponents and what does not fit 64 bits included.
    public var integer: Int64? { if case .number(let text) = self { Int64(text) } else { nil } }

    /// The value as a number of bytes, 0 to 2^53 - 1: larger ones not every reader of JSON takes (RFC 7493, section
    /// 2.2).
    public var byteCount: Int64? { integer.flatMap { (0..<1 << 53).contains($0) ? $0 : nil } }
}

/// Sums that can't overflow, since documents may have any numbers: a sum that is too large becomes the largest number.
extension Int64 {
    /// The sum of two numbers, both of which must be 0 or more.
    package func clampedAdding(_ other: Int64) -> Int64 {
        let (sum, isTooLarge) = addingReportingOverflow(other)
        return isTooLarge ? .max : sum
    }
}

extension Sequence<Int64> {
    package var clampedSum: Int64 { reduce(0) { $0.clampedAdding($1) } }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(Dictionary(elements, uniquingKeysWith: { _, last in last }))
    }
}

extension JSONValue {
    /// The elements of an array as `read` gives them; nil if this is no array, or `read` gives nil for any of them.
    package func elements<Element>(_ read: (JSONValue) -> Element?) -> [Element]? {
        guard let array else { return nil }
        let elements = array.compactMap(read)
        return elements.count == array.count ? elements : nil
    }
}
