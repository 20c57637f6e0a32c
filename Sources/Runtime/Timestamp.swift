/// A moment in whole seconds since 1970, UTC, and the forms in which it is written.
public struct Timestamp: Hashable, Sendable, Comparable {
    public let seconds: Int64

    /// Moments outside the years 0 to 9999, which RFC 3339 can't write, become the nearest it can.
    public init(seconds: Int64) {
        self.seconds = min(max(seconds, -62_167_219_200), 253_402_300_799)
    }

    /// - Parameter nanoseconds: since 1970; what is less than a second is cut off.
    public init(nanoseconds: Int64) {
        self.init(seconds: nanoseconds.dividedRoundingDown(by: 1_000_000_000))
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.seconds < right.seconds }

    /// RFC 3339, as in `2026-01-31T12:00:00Z`.
    public var rfc3339: String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(20)
        appendDateAndTime(to: &bytes)
        bytes.append(UInt8(ascii: "Z"))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Writes a moment with its milliseconds in RFC 3339, as in `2026-01-31T12:00:00.250Z`.
    /// - Parameter nanoseconds: since 1970.
    package static func appendMilliseconds(of nanoseconds: Int64, to bytes: inout [UInt8]) {
        Timestamp(nanoseconds: nanoseconds).appendDateAndTime(to: &bytes)
        bytes.append(UInt8(ascii: "."))
        let rest = nanoseconds % 1_000_000_000
        appendDigits((rest < 0 ? rest + 1_000_000_000 : rest) / 1_000_000, 3, to: &bytes)
        bytes.append(UInt8(ascii: "Z"))
    }

    /// The form of HTTP's Date (RFC 9110, section 5.6.7).
    package var httpDate: String {
        let date = CivilDate(self)
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let weekday = date.day - date.day.dividedRoundingDown(by: 7) * 7
        var bytes = Array("\(days[Int(weekday)]), ".utf8)
        Self.appendDigits(date.dayOfMonth, 2, to: &bytes)
        bytes += Array(" \(months[Int(date.month - 1)]) ".utf8)
        Self.appendDigits(date.year, 4, to: &bytes)
        bytes.append(UInt8(ascii: " "))
        Self.appendTime(date.secondOfDay, to: &bytes)
        return String(decoding: bytes, as: UTF8.self) + " GMT"
    }

    private func appendDateAndTime(to bytes: inout [UInt8]) {
        let date = CivilDate(self)
        Self.appendDigits(date.year, 4, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        Self.appendDigits(date.month, 2, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        Self.appendDigits(date.dayOfMonth, 2, to: &bytes)
        bytes.append(UInt8(ascii: "T"))
        Self.appendTime(date.secondOfDay, to: &bytes)
    }

    private static func appendTime(_ secondOfDay: Int64, to bytes: inout [UInt8]) {
        appendDigits(secondOfDay / 3600, 2, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        appendDigits(secondOfDay / 60 % 60, 2, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        appendDigits(secondOfDay % 60, 2, to: &bytes)
    }

    private static func appendDigits(_ value: Int64, _ count: Int, to bytes: inout [UInt8]) {
        var divisor: Int64 = 1
        for _ in 1..<count { divisor *= 10 }
        while divisor > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
            divisor /= 10
        }
    }
}

/// A date of the proleptic Gregorian calendar in UTC.
private struct CivilDate {
    /// Days since 1970-01-01.
    let day: Int64
    let secondOfDay: Int64
    let year: Int64
    let month: Int64
    let dayOfMonth: Int64

    init(_ moment: Timestamp) {
        day = moment.seconds.dividedRoundingDown(by: 86_400)
        secondOfDay = moment.seconds - day * 86_400
        // Days since 0000-03-01, so that leap days end their year, counted in eras of 400 years.
        let shifted = day + 719_468
        let era = shifted.dividedRoundingDown(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        dayOfMonth = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }
}

extension Int64 {
    fileprivate func dividedRoundingDown(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
