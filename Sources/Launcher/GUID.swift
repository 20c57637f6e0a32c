/// A version 4 UUID (RFC 9562, section 5.4).
enum GUID {
    /// - Parameter bytes: 16 random ones.
    static func text(_ bytes: [UInt8]) -> String {
        var text = ""
        for (index, byte) in bytes.prefix(16).enumerated() {
            if [4, 6, 8, 10].contains(index) { text += "-" }
            let marked =
                switch index {
                case 6: byte & 0x0F | 0x40
                case 8: byte & 0x3F | 0x80
                default: byte
                }
            text += String(marked >> 4, radix: 16) + String(marked & 15, radix: 16)
        }
        return text
    }
}
