import Testing

@testable import Archive

@Suite("Numbers in tar headers")
struct TarHeaderTests {
    static let table: [([UInt8], Int64?)] = [
        (Array("0000644\u{0}".utf8), 0o644),
        (Array("000644 \u{0}".utf8), 0o644),
        (Array("   644 \u{0}".utf8), 0o644),
        (Array("77777777".utf8), 0o7777_7777),
        ([UInt8](repeating: 0, count: 8), 0),
        (Array("        ".utf8), 0),
        (Array("0000648\u{0}".utf8), nil),
        (Array("644\u{0}644\u{0}".utf8), nil),
        (Array("-000644\u{0}".utf8), nil),
        ([0x80, 0, 0, 0, 0, 0, 1, 2], 258),
        ([0xff, 255, 255, 255, 255, 255, 255, 255], -1),
        ([0xff, 255, 255, 255, 255, 255, 255, 0], -256),
        ([0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255], .max),
        ([0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0], nil),
        ([0xff, 255, 255, 255, 0x80, 0, 0, 0, 0, 0, 0, 0], .min),
        ([0xff, 255, 255, 255, 0x7f, 255, 255, 255, 255, 255, 255, 255], nil),
        ([0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], nil),
    ]

    @Test("are octal or base-256, or refused", arguments: table)
    func numbers(_ field: [UInt8], _ value: Int64?) {
        #expect(TarHeader.number(field.span, 0, field.count) == value)
    }
}
