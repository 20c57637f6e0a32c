import CLibcrypto

/// Base64 (RFC 4648, section 4), strictly: padded, without white space, and only as an encoder writes it.
public enum Base64 {
    public static func encode(_ bytes: [UInt8]) -> String {
        var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
        // libcrypto counts in 32 bits, so long input is encoded in blocks, of whole 3-byte groups without padding.
        let block = 3 << 20
        for start in stride(from: 0, to: bytes.count, by: block) {
            let count = min(block, bytes.count - start)
            bytes.withUnsafeBufferPointer { source in
                text.withUnsafeMutableBufferPointer { target in
                    guard let source = source.baseAddress, let target = target.baseAddress else { return }
                    EVP_EncodeBlock(target + start / 3 * 4, source + start, Int32(count))
                }
            }
        }
        return String(decoding: text.dropLast(), as: UTF8.self)
    }

    /// - Returns: nil for a text that no encoder writes, for an empty one and for more than 64 KiB.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        let input = Array(text.utf8)
        guard input.count.isMultiple(of: 4), !input.isEmpty, input.count <= 1 << 16,
            input.allSatisfy({ $0 > 32 && $0 < 127 })
        else { return nil }
        let padding = input.suffix(2).count { $0 == UInt8(ascii: "=") }
        guard !input.dropLast(padding).contains(UInt8(ascii: "=")) else { return nil }
        var output = [UInt8](repeating: 0, count: input.count / 4 * 3)
        guard EVP_DecodeBlock(&output, input, Int32(input.count)) == output.count else { return nil }
        output.removeLast(padding)
        // libcrypto ignores the last group's unused bits, which must be zero: encoding again shows whether they are.
        return encode(output).utf8.elementsEqual(input) ? output : nil
    }

    /// The form for URLs (RFC 4648, section 5), without padding.
    public static func encodeURL(_ bytes: [UInt8]) -> String {
        String(
            decoding: encode(bytes).utf8.lazy.filter { $0 != UInt8(ascii: "=") }.map { byte in
                switch byte {
                case UInt8(ascii: "+"): UInt8(ascii: "-")
                case UInt8(ascii: "/"): UInt8(ascii: "_")
                default: byte
                }
            }, as: UTF8.self)
    }

    /// - Returns: nil for a text that `encodeURL` does not write, for an empty one and for more than 48 KiB.
    public static func decodeURL(_ text: some StringProtocol) -> [UInt8]? {
        guard text.utf8.count <= 48 << 10 else { return nil }
        var plain: [UInt8] = []
        plain.reserveCapacity(text.utf8.count + 2)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "-"): plain.append(UInt8(ascii: "+"))
            case UInt8(ascii: "_"): plain.append(UInt8(ascii: "/"))
            case UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="): return nil
            default: plain.append(byte)
            }
        }
        while !plain.count.isMultiple(of: 4) { plain.append(UInt8(ascii: "=")) }
        return decode(String(decoding: plain, as: UTF8.self))
    }
}
