/// A number of bytes as people write it: `1000`, `512MiB`, `100 GiB`. Units are powers of 1024.
struct ByteSize: Hashable, Sendable, CustomStringConvertible {
    /// The largest size, in bytes.
    static let maximum: Int64 = 1 << 60

    private static let units = ["PiB", "TiB", "GiB", "MiB", "KiB"]

    let bytes: Int64

    init(_ bytes: Int64) { self.bytes = bytes }

    /// - Returns: nil if the text is not a size from 0 to `maximum`.
    init?(parsing text: String) {
        let digits = text.utf8.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        let unit = text.dropFirst(digits.count).drop { $0 == " " }
        var factor: Int64 = 1
        if !unit.isEmpty, unit != "B" {
            guard let index = Self.units.firstIndex(of: String(unit)) else { return nil }
            factor = 1 << Int64(10 * (Self.units.count - index))
        }
        guard let number = Int64(Substring(digits)), number <= Self.maximum / factor else { return nil }
        bytes = number * factor
    }

    /// The size in the largest unit of which it is a whole number.
    var description: String {
        for (index, unit) in Self.units.enumerated() {
            let factor: Int64 = 1 << Int64(10 * (Self.units.count - index))
            if bytes > 0, bytes % factor == 0 { return "\(bytes / factor)\(unit)" }
        }
        return String(bytes)
    }
}
