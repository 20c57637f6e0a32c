/// What is wrong with a document, and at which byte.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    public let message: String
    /// The offset in bytes from the document's start.
    public let offset: Int

    public var description: String { "not valid JSON: \(message) at byte \(offset)" }
}

extension JSONValue {
    /// Parses one whole document of RFC 8259.
    ///
    /// Stricter than the grammar where two readers could disagree: invalid UTF-8, lone surrogates and an object with
    /// the same member twice are errors.
    /// - Parameters:
    ///   - bytes: UTF-8 without a byte order mark. The caller bounds their number.
    ///   - maximumDepth: how deep arrays and objects may nest.
    /// - Throws: `JSONError` at the first byte that is not valid.
    public init(parsing bytes: some Sequence<UInt8>, maximumDepth: Int = 64) throws(JSONError) {
        var parser = JSONParser(bytes: Array(bytes), depthLeft: maximumDepth)
        self = try parser.document()
    }

    /// Parses one whole document given as a string.
    public init(parsing text: String, maximumDepth: Int = 64) throws(JSONError) {
        try self.init(parsing: text.utf8, maximumDepth: maximumDepth)
    }
}

private struct JSONParser {
    let bytes: [UInt8]
    var position = 0
    var depthLeft: Int

    init(bytes: [UInt8], depthLeft: Int) {
        self.bytes = bytes
        self.depthLeft = depthLeft
    }

    mutating func document() throws(JSONError) -> JSONValue {
        let value = try value()
        skipSpace()
        guard position == bytes.count else { throw fail("something follows the value") }
        return value
    }

    func fail(_ message: String) -> JSONError { JSONError(message: message, offset: position) }

    var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    mutating func value() throws(JSONError) -> JSONValue {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try nested { (parser) throws(JSONError) in try parser.object() }
        case UInt8(ascii: "["): return try nested { (parser) throws(JSONError) in try parser.array() }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case nil: throw fail("the document ends too early")
        case let byte? where byte == UInt8(ascii: "-") || isDigit(byte): return try number()
        default: throw fail("unexpected character")
        }
    }

    mutating func nested(
        _ body: (inout JSONParser) throws(JSONError) -> JSONValue
    ) throws(JSONError) -> JSONValue {
        guard depthLeft > 0 else { throw fail("nested too deep") }
        depthLeft -= 1
        position += 1
        let value = try body(&self)
        depthLeft += 1
        return value
    }

    mutating func object() throws(JSONError) -> JSONValue {
        var members: JSONObject = [:]
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw fail("a member's name is missing") }
            let name = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw fail("':' is missing") }
            let value = try value()
            guard members.updateValue(value, forKey: name) == nil else {
                throw fail("the member '\(String(name.unicodeScalars.prefix(64)))' appears twice")
            }
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw fail("',' or '}' is missing") }
        }
    }

    mutating func array() throws(JSONError) -> JSONValue {
        var elements: [JSONValue] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try value())
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(elements) }
            guard take(UInt8(ascii: ",")) else { throw fail("',' or ']' is missing") }
        }
    }

    mutating func word(_ text: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        let expected = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        guard bytes[position...].starts(with: expected) else { throw fail("unexpected character") }
        position += expected.count
        return value
    }

    mutating func digits() throws(JSONError) {
        let start = position
        while let byte = next, isDigit(byte) { position += 1 }
        guard position > start else { throw fail("a digit is missing") }
    }

    mutating func number() throws(JSONError) -> JSONValue {
        let start = position
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { try digits() }
        if take(UInt8(ascii: ".")) { try digits() }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try digits()
        }
        return .number(String(decoding: bytes[start..<position], as: UTF8.self))
    }

    mutating func string() throws(JSONError) -> String {
        position += 1
        // Most strings are one run without escapes, which is taken as it stands.
        var units: [UInt8] = []
        while true {
            let start = position
            while let byte = next, byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
                position += 1
            }
            let run = bytes[start..<position]
            switch next {
            case UInt8(ascii: "\""):
                position += 1
                let text = String(validating: units.isEmpty ? run : (units + run)[...], as: UTF8.self)
                guard let text else { throw fail("a string is not UTF-8") }
                return text
            case UInt8(ascii: "\\"):
                units += run
                position += 1
                try escape(into: &units)
            case nil: throw fail("a string does not end")
            default: throw fail("a control character in a string")
            }
        }
    }

    mutating func escape(into units: inout [UInt8]) throws(JSONError) {
        guard let byte = next else { throw fail("a string does not end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): units.append(byte)
        case UInt8(ascii: "b"): units.append(0x08)
        case UInt8(ascii: "f"): units.append(0x0C)
        case UInt8(ascii: "n"): units.append(0x0A)
        case UInt8(ascii: "r"): units.append(0x0D)
        case UInt8(ascii: "t"): units.append(0x09)
        case UInt8(ascii: "u"):
            let first = try codeUnit()
            var pair = [first]
            if UTF16.isLeadSurrogate(first) {
                guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else { throw fail("a lone surrogate") }
                pair.append(try codeUnit())
            }
            guard let text = String(validating: pair, as: UTF16.self) else { throw fail("a lone surrogate") }
            units.append(contentsOf: text.utf8)
        default: throw fail("an unknown escape")
        }
    }

    mutating func codeUnit() throws(JSONError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw fail("four hexadecimal digits are missing")
            }
            unit = unit << 4 | UInt16(digit)
            position += 1
        }
        return unit
    }
}

private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
