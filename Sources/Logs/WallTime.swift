import Glibc

/// A moment of the wall clock.
package struct WallTime: Sendable {
    let seconds: Int
    let nanoseconds: Int

    package init(seconds: Int, nanoseconds: Int) {
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
    package var httpDate: String {
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
