import Foundation
import OCI
import Testing

@Suite("Base64")
struct Base64Tests {
    @Test(
        "Bytes are written as Foundation writes them, and read again", arguments: [0, 1, 2, 3, 4, 5, 47, 48, 49, 1000])
    func roundTrip(count: Int) {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 250) }
        let text = Base64.encode(bytes)
        #expect(text == Data(bytes).base64EncodedString())
        #expect(Base64.decode(text) == (count == 0 ? nil : bytes))
    }

    @Test("More than one block of bytes is one text")
    func blocks() {
        let bytes = (0..<(3 << 20) + 4).map { UInt8(truncatingIfNeeded: $0 >> 3) }
        #expect(Base64.encode(bytes) == Data(bytes).base64EncodedString())
    }

    @Test(
        "What no encoder writes is refused",
        arguments: [
            "", "Q", "QU", "QUF", "QUF=", "QR==", "QUF\n", " QUFB", "QUFB ", "QUFB\n", "Q=FB", "====", "Q===", "QU=B",
            "QUF_", "QUF-", "QUFBé", "QUFB====", String(repeating: "QUFB", count: (1 << 14) + 1),
        ])
    func refused(text: String) { #expect(Base64.decode(text) == nil) }

    @Test("The form for URLs has no padding and two other digits, and nothing else is decoded")
    func urls() {
        for (bytes, text) in [([0xFB, 0xFF], "-_8"), ([0], "AA"), ([1, 2, 3], "AQID")] as [([UInt8], String)] {
            #expect(Base64.encodeURL(bytes) == text && Base64.decodeURL(text) == bytes)
        }
        for text in ["", "+/8", "-_8=", "-_9", "A", "AA AA", "é"] { #expect(Base64.decodeURL(text) == nil) }
    }
}
