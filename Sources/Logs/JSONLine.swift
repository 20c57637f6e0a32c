import Runtime

/// A log line: one JSON object, written field by field without intermediate values.
struct JSONLine {
    private(set) var bytes: [UInt8] = []

    /// - Parameters:
    ///   - time: when it happened, in nanoseconds since 1970.
    ///   - level: for example `info`.
    init(time: Int64, level: StaticString, message: some StringProtocol) {
        bytes.reserveCapacity(384)
        raw("{\"time\":\"")
        Timestamp.appendMilliseconds(of: time, to: &bytes)
        raw("\",\"level\":\"")
        raw(level)
        raw("\",\"msg\":\"")
        escape(message.utf8)
        raw("\"")
    }

    mutating func add(_ name: StaticString, _ value: some StringProtocol) {
        key(name)
        raw("\"")
        escape(value.utf8)
        raw("\"")
    }

    /// Adds at most a number of a text's bytes; `…` marks what is cut off.
    mutating func add(_ name: StaticString, _ value: String, atMost maximum: Int) {
        key(name)
        raw("\"")
        if value.utf8.count <= maximum {
            escape(value.utf8)
        } else {
            escape(String(decoding: value.utf8.prefix(maximum), as: UTF8.self).utf8)
            raw("…")
        }
        raw("\"")
    }

    mutating func add(_ name: StaticString, _ value: Int64) {
        key(name)
        integer(value)
    }

    /// Adds a time, given in nanoseconds, as milliseconds with three decimal places.
    mutating func add(_ name: StaticString, milliseconds nanoseconds: Int64) {
        key(name)
        integer(nanoseconds / 1_000_000)
        let places = nanoseconds / 1000 % 1000
        raw(".")
        for digit in [places / 100, places / 10 % 10, places % 10] { bytes.append(UInt8(ascii: "0") + UInt8(digit)) }
    }

    mutating func add(dynamic name: String, _ value: String) {
        raw(",\"")
        escape(name.utf8)
        raw("\":\"")
        escape(value.utf8)
        raw("\"")
    }

    /// The finished line with its line break.
    consuming func finished() -> [UInt8] {
        raw("}\n")
        return bytes
    }

    private mutating func key(_ name: StaticString) {
        raw(",\"")
        raw(name)
        raw("\":")
    }

    private mutating func raw(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private mutating func integer(_ value: Int64) {
        if value < 0 { raw("-") }
        var rest = value.magnitude
        var digits: [20 of UInt8] = .init(repeating: 0)
        var count = 0
        repeat {
            digits[count] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
            count += 1
        } while rest > 0
        while count > 0 {
            count -= 1
            bytes.append(digits[count])
        }
    }

    private mutating func escape(_ text: some Sequence<UInt8>) {
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0x0A: raw("\\n")
            case 0..<0x20, 0x7F:
                raw("\\u00")
                for digit in [byte >> 4, byte & 15] {
                    bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
                }
            default: bytes.append(byte)
            }
        }
    }
}
