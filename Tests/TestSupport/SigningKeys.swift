import Foundation
public import Signatures

extension SigningKey {
    /// Of secrets that everybody knows: RFC 8032, section 7.1.
    public static func published(_ number: Int = 1) throws -> SigningKey {
        let secret = [
            1: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            2: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        ][number]
        // RFC 8410, section 7.
        let head: [UInt8] = [0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20]
        return try SigningKey(pem: Array(pem("PRIVATE KEY", head + bytes(secret ?? "")).utf8))
    }

    /// Of `published(1)`.
    public static var publishedPublicKey: [UInt8] {
        bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    }

    private static func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        return stride(from: 0, to: digits.count, by: 2).compactMap {
            UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
        }
    }

    public static func pem(_ label: String, _ der: [UInt8]) -> String {
        let fence = String(repeating: "-", count: 5)
        let body = Data(der).base64EncodedString()
        return "\(fence)BEGIN \(label)\(fence)\n\(body)\n\(fence)END \(label)\(fence)\n"
    }
}
