/// A point in time, to the nanosecond, as tar stores it.
public struct TarTime: Hashable, Sendable, Comparable {
    /// Since 1970-01-01T00:00:00Z; negative before it.
    public var seconds: Int64
    /// 0 to 999 999 999, always counted forwards.
    public var nanoseconds: Int32

    public init(seconds: Int64, nanoseconds: Int32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    public static func < (left: TarTime, right: TarTime) -> Bool {
        (left.seconds, left.nanoseconds) < (right.seconds, right.nanoseconds)
    }

    /// PAX's decimal notation: `-?digits[.digits]`. Digits past the ninth are cut off, towards the past.
    init?(pax text: some Collection<UInt8>) {
        var rest = text[...]
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative { rest = rest.dropFirst() }
        let whole = rest.prefix { $0 != UInt8(ascii: ".") }
        guard !whole.isEmpty, whole.count <= 18, let seconds = Int64(decimal: whole) else { return nil }
        var nanoseconds: Int32 = 0
        var hasMore = false
        if whole.endIndex != rest.endIndex {
            var digits = 0
            for byte in rest[rest.index(after: whole.endIndex)...] {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                if digits < 9 {
                    nanoseconds = nanoseconds * 10 + Int32(byte - UInt8(ascii: "0"))
                    digits += 1
                } else if byte != UInt8(ascii: "0") {
                    hasMore = true
                }
            }
            while digits < 9 {
                nanoseconds *= 10
                digits += 1
            }
        }
        guard isNegative else {
            self.init(seconds: seconds, nanoseconds: nanoseconds)
            return
        }
        if hasMore { nanoseconds += 1 }
        if nanoseconds == 1_000_000_000 {
            self.init(seconds: -seconds - 1)
        } else if nanoseconds > 0 {
            self.init(seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds)
        } else {
            self.init(seconds: -seconds)
        }
    }

    /// The same notation, without trailing zeros.
    var paxText: String {
        guard nanoseconds != 0 else { return String(seconds) }
        let isNegative = seconds < 0
        let whole = isNegative ? -(seconds + 1) : seconds
        let fraction = isNegative ? 1_000_000_000 - nanoseconds : nanoseconds
        var digits = String(fraction)
        digits = String(repeating: "0", count: 9 - digits.count) + digits
        while digits.last == "0" { digits.removeLast() }
        return "\(isNegative ? "-" : "")\(whole).\(digits)"
    }
}

extension Int64 {
    /// Decimal digits and nothing else.
    init?(decimal text: some Collection<UInt8>) {
        guard !text.isEmpty else { return nil }
        var value: Int64 = 0
        for byte in text {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(Int64(byte - UInt8(ascii: "0")))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        self = value
    }
}
