/// An amount of memory, processors or the like as the API writes it: `512Mi`, `0.5`, `100m`, `1e3` (Kubernetes
/// documentation, "Quantity").
package struct Quantity: Hashable, Sendable, Comparable {
    /// Thousandths of the unit, rounded up. What is too large becomes the largest number.
    package let thousandths: Int64

    package init(thousandths: Int64) { self.thousandths = thousandths }

    /// nil if the text is no quantity.
    package init?(_ text: String) {
        var rest = Substring(text)
        let isNegative = rest.hasPrefix("-")
        if isNegative || rest.hasPrefix("+") { rest.removeFirst() }
        let digits = rest.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        let parts = digits.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard digits.count <= 30, !parts.joined().isEmpty, parts.allSatisfy({ !$0.contains(".") }),
            let number = Double(
                digits.hasPrefix(".") ? "0\(digits)" : digits.hasSuffix(".") ? "\(digits)0" : "\(digits)"),
            let factor = Self.factor(rest.dropFirst(digits.count))
        else { return nil }
        // Whole numbers of 64 bits stay exact; fractions are rounded up as the API server does.
        if parts.count == 1, let whole = Int64(digits), let unit = Int64(exactly: factor * 1000) {
            let (product, overflow) = whole.multipliedReportingOverflow(by: unit)
            thousandths = overflow ? (isNegative ? .min : .max) : isNegative ? -product : product
            return
        }
        let scaled = (number * factor * 1000 * (isNegative ? -1 : 1)).rounded(.up)
        thousandths = Int64(exactly: scaled) ?? (scaled < 0 ? .min : .max)
    }

    private static func factor(_ suffix: Substring) -> Double? {
        let factors: [Substring: Double] = [
            "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
            "Ki": 1024, "Mi": 1_048_576, "Gi": 1_073_741_824, "Ti": 1_099_511_627_776, "Pi": 1_125_899_906_842_624,
            "Ei": 1_152_921_504_606_846_976,
        ]
        if let factor = factors[suffix] { return factor }
        guard let mark = suffix.first, mark == "e" || mark == "E", let exponent = Int(suffix.dropFirst()),
            abs(exponent) <= 30
        else { return nil }
        return Double("1e\(exponent)")
    }

    /// The whole units, as in bytes, rounded up.
    package var units: Int64 {
        let (quotient, rest) = thousandths.quotientAndRemainder(dividingBy: 1000)
        return rest > 0 ? quotient + 1 : quotient
    }

    package static func < (one: Quantity, other: Quantity) -> Bool { one.thousandths < other.thousandths }
}
