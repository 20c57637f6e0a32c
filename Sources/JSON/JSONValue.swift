/// The members of a JSON object, whose names are told apart by their bytes.
public typealias JSONObject = ByName<JSONValue>

/// A JSON value (RFC 8259) that keeps a number's own text, so that what is read and written again does not change.
/// Strings and names are equal only if their bytes are.
public enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// The number's text as it stands in the document, for example `"1"`, `"-0.5"` or `"1e9"`.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

extension JSONValue {
    public static func == (one: JSONValue, other: JSONValue) -> Bool {
        switch (one, other) {
        case (.null, .null): true
        case (.bool(let one), .bool(let other)): one == other
        case (.number(let one), .number(let other)), (.string(let one), .string(let other)): areIdentical(one, other)
        case (.array(let one), .array(let other)): one == other
        case (.object(let one), .object(let other)): one == other
        default: false
        }
    }

    public func hash(into hasher: inout Hasher) {
        switch self {
        case .null: hasher.combine(0)
        case .bool(let value): hasher.combine(value)
        case .number(let text), .string(let text): hasher.combine(ExactText(text))
        case .array(let elements): hasher.combine(elements)
        case .object(let members): hasher.combine(members)
        }
    }

    /// An integer as a JSON number.
    public static func integer(_ value: some BinaryInteger) -> JSONValue { .number(String(value)) }

    /// The member of an object, or nil if this is no object or has no such member.
    public subscript(_ name: String) -> JSONValue? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }

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
        self = .object(JSONObject(elements, uniquingKeysWith: { _, last in last }))
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
