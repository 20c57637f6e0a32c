import Testing

@testable import Archive

@Suite("PAX times")
struct TarTimeTests {
    static let table: [(String, Int64, Int32)] = [
        ("0", 0, 0), ("1700000000", 1_700_000_000, 0), ("1.5", 1, 500_000_000), ("1.000000001", 1, 1),
        ("1.0000000019", 1, 1), ("-1", -1, 0), ("-1.5", -2, 500_000_000), ("-0.25", -1, 750_000_000),
        ("-1.0000000001", -2, 999_999_999), ("-0.9999999999", -1, 0), ("1.", 1, 0),
    ]

    @Test("are read to the nanosecond, towards the past", arguments: table)
    func parsed(_ text: String, _ seconds: Int64, _ nanoseconds: Int32) {
        #expect(TarTime(pax: Array(text.utf8)) == TarTime(seconds: seconds, nanoseconds: nanoseconds))
    }

    @Test(
        "that are none are refused",
        arguments: ["", "-", ".5", "1.5x", "1e5", "0x1", " 1", "1 ", "--1", "1.2.3", "9999999999999999999"])
    func refused(_ text: String) {
        #expect(TarTime(pax: Array(text.utf8)) == nil)
    }

    @Test("are written as they are read")
    func roundTrip() {
        var generator = SplitMix(state: 1)
        for _ in 0..<2000 {
            let time = TarTime(
                seconds: Int64.random(in: -10_000_000_000...10_000_000_000, using: &generator),
                nanoseconds: Int32.random(in: 0..<1_000_000_000, using: &generator))
            #expect(TarTime(pax: Array(time.paxText.utf8)) == time)
        }
        #expect(TarTime(seconds: -2, nanoseconds: 500_000_000).paxText == "-1.5")
        #expect(TarTime(seconds: 3, nanoseconds: 120).paxText == "3.00000012")
    }
}

/// A seeded generator, the same everywhere.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
