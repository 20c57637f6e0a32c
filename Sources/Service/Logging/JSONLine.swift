import Glibc

/// A log line: one JSON object, built field by field without going through values.
struct JSONLine {
    private(set) var bytes: [UInt8] = []

    /// - Parameters:
    ///   - time: when it happened.
    ///   - level: for example `info`.
    init(time: WallTime, level: StaticString, message: some StringProtocol) {
        bytes.reserveCapacity(384)
        raw("{\"time\":\"")
        time.write(into: &bytes)
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

    /// At most a number of bytes of a text; what is cut off is marked.
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

    /// A time in milliseconds with three places.
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

    /// The line with its end.
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

/// A moment of the wall clock.
struct WallTime: Sendable {
    let seconds: Int
    let nanoseconds: Int

    init(seconds: Int, nanoseconds: Int) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    static var now: WallTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(seconds: time.tv_sec, nanoseconds: time.tv_nsec)
    }

    /// RFC 3339 in UTC with milliseconds.
    func write(into bytes: inout [UInt8]) {
        let date = CivilDate(seconds: seconds)
        Self.digits(date.year, 4, into: &bytes)
        bytes.append(UInt8(ascii: "-"))
        Self.digits(date.month, 2, into: &bytes)
        bytes.append(UInt8(ascii: "-"))
        Self.digits(date.day, 2, into: &bytes)
        bytes.append(UInt8(ascii: "T"))
        Self.digits(date.hour, 2, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        Self.digits(date.minute, 2, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        Self.digits(date.second, 2, into: &bytes)
        bytes.append(UInt8(ascii: "."))
        Self.digits(nanoseconds / 1_000_000, 3, into: &bytes)
        bytes.append(UInt8(ascii: "Z"))
    }

    /// The form of HTTP's Date (RFC 9110, section 5.6.7).
    var httpDate: String {
        let date = CivilDate(seconds: seconds)
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        var bytes = Array("\(days[date.dayNumber % 7]), ".utf8)
        Self.digits(date.day, 2, into: &bytes)
        bytes += Array(" \(months[date.month - 1]) ".utf8)
        Self.digits(date.year, 4, into: &bytes)
        bytes.append(UInt8(ascii: " "))
        Self.digits(date.hour, 2, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        Self.digits(date.minute, 2, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        Self.digits(date.second, 2, into: &bytes)
        return String(decoding: bytes, as: UTF8.self) + " GMT"
    }

    private static func digits(_ value: Int, _ count: Int, into bytes: inout [UInt8]) {
        var divisor = 1
        for _ in 1..<count { divisor *= 10 }
        while divisor > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
            divisor /= 10
        }
    }
}

/// A date of the Gregorian calendar in UTC, from 1970 on.
private struct CivilDate {
    let dayNumber: Int
    let year: Int
    let month: Int
    let day: Int
    let hour: Int
    let minute: Int
    let second: Int

    init(seconds: Int) {
        let seconds = max(0, seconds)
        dayNumber = seconds / 86_400
        hour = seconds % 86_400 / 3600
        minute = seconds % 3600 / 60
        second = seconds % 60
        // Days since 0000-03-01, counted in eras of 400 years.
        let shifted = dayNumber + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }
}
