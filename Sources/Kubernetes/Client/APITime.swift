import Runtime

/// A time as the API writes it: RFC 3339, with an offset and a fraction of up to nine digits (`Time` and `MicroTime` of
/// meta/v1).
package struct APITime: Hashable, Sendable, Comparable {
    /// Since 1970.
    package let nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// nil if the text is no time of the years 1970 to 2261.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.count <= 40 else { return nil }
        func digits(_ range: Range<Int>) -> Int64? {
            guard range.upperBound <= bytes.count else { return nil }
            var value: Int64 = 0
            for byte in bytes[range] {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                value = value * 10 + Int64(byte - UInt8(ascii: "0"))
            }
            return value
        }
        func has(_ character: Character, _ index: Int) -> Bool {
            index < bytes.count && [character.asciiValue, character.lowercased().utf8.first].contains(bytes[index])
        }
        guard let year = digits(0..<4), let month = digits(5..<7), let day = digits(8..<10),
            let hour = digits(11..<13), let minute = digits(14..<16), let second = digits(17..<19),
            has("-", 4), has("-", 7), has("T", 10), has(":", 13), has(":", 16),
            (1970...2261).contains(year), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
            second <= 60
        else { return nil }
        var position = 19
        var fraction: Int64 = 0
        if has(".", position) {
            let end = bytes[(position + 1)...].firstIndex { !(48...57).contains($0) } ?? bytes.count
            guard (1...9).contains(end - position - 1), let value = digits(position + 1..<end) else { return nil }
            fraction = (end - position - 1..<9).reduce(value) { value, _ in value * 10 }
            position = end
        }
        var offset: Int64 = 0
        if has("Z", position) {
            guard position + 1 == bytes.count else { return nil }
        } else {
            guard has("+", position) || has("-", position), position + 6 == bytes.count, has(":", position + 3),
                let hours = digits(position + 1..<position + 3), let minutes = digits(position + 4..<position + 6),
                hours < 24, minutes < 60
            else { return nil }
            offset = (hours * 3600 + minutes * 60) * (has("-", position) ? -1 : 1)
        }
        // Days since 1970 of the proleptic Gregorian calendar, in years that begin in March.
        let shifted = month <= 2 ? year - 1 : year
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719_468
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset
        nanoseconds = seconds * 1_000_000_000 + fraction
    }

    /// In whole seconds, for `Time`.
    package var text: String { Timestamp(nanoseconds: nanoseconds).rfc3339 }

    /// With six digits of a fraction, for `MicroTime`, whose readers want exactly those.
    package var microText: String {
        let microseconds = String(max(0, nanoseconds) % 1_000_000_000 / 1000)
        let padding = String(repeating: "0", count: 6 - microseconds.count)
        return "\(text.dropLast()).\(padding)\(microseconds)Z"
    }

    package static func < (one: APITime, other: APITime) -> Bool { one.nanoseconds < other.nanoseconds }
}
