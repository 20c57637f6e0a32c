import CLibcrypto

/// Base64 (RFC 4648, section 4), strictly: padded, without white space, and only as an encoder writes it.
enum Base64 {
    static func decode(_ text: some StringProtocol) -> [UInt8]? {
        let input = Array(text.utf8)
        guard input.count.isMultiple(of: 4), !input.isEmpty, input.count <= 1 << 16,
            input.allSatisfy({ $0 > 32 && $0 < 127 })
        else { return nil }
        let padding = input.suffix(2).count { $0 == UInt8(ascii: "=") }
        guard !input.dropLast(padding).contains(UInt8(ascii: "=")) else { return nil }
        var output = [UInt8](repeating: 0, count: input.count / 4 * 3)
        guard EVP_DecodeBlock(&output, input, Int32(input.count)) == output.count else { return nil }
        output.removeLast(padding)
        var again = [UInt8](repeating: 0, count: input.count + 1)
        guard EVP_EncodeBlock(&again, output, Int32(output.count)) == input.count, again.starts(with: input) else {
            return nil
        }
        return output
    }
}
