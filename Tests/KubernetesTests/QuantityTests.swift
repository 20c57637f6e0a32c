import Testing

@testable import Kubernetes

@Suite("Quantities and times of the API")
struct QuantityTests {
    @Test(
        "quantities are read as the API server writes them",
        arguments: [
            ("1", 1000), ("100m", 100), ("0.5", 500), ("1Ki", 1_024_000), ("2Gi", 2_147_483_648_000),
            ("1e3", 1_000_000),
            ("-1k", -1_000_000), ("1n", 1), (".5", 500), ("1E", Int64.max), ("9223372036854775807", Int64.max),
        ])
    func quantities(_ text: String, _ thousandths: Int64) { #expect(Quantity(text)?.thousandths == thousandths) }

    @Test("what is no quantity is nil", arguments: ["", "x", "1x", "1..2", "--1", "1e", "1e400", "٣", "1 "])
    func noQuantities(_ text: String) { #expect(Quantity(text) == nil) }

    @Test("units are rounded up")
    func units() { #expect(Quantity("1500m")?.units == 2) }

    @Test(
        "times are read with fractions and offsets",
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2026-01-31T12:00:00.250000Z", 1_769_860_800_250_000_000),
            ("2026-01-31T14:00:00+02:00", 1_769_860_800_000_000_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000_000),
        ])
    func times(_ text: String, _ nanoseconds: Int64) { #expect(APITime(text)?.nanoseconds == nanoseconds) }

    @Test(
        "what is no time is nil",
        arguments: ["", "2026-01-31", "2026-13-01T00:00:00Z", "2026-01-31T12:00:00", "2026-01-31T12:00:00.Z"])
    func noTimes(_ text: String) { #expect(APITime(text) == nil) }

    @Test("a MicroTime has six digits, since its readers want exactly those")
    func microTime() {
        #expect(APITime(nanoseconds: 1_769_860_800_000_005_999).microText == "2026-01-31T12:00:00.000005Z")
    }
}
