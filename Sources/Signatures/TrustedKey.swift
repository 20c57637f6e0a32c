import OCI

/// An Ed25519 public key that somebody put among those that are trusted.
public struct TrustedKey: Sendable, Hashable {
    /// The file's name without its ending.
    public let name: String
    let bytes: [UInt8]
    /// The eight bytes by which minisign names its keys; nil for others.
    let minisignID: [UInt8]?

    /// Reads a PEM file as `openssl pkey -pubout` writes it (RFC 8410), or a minisign public key.
    /// - Throws: `.unreadable`.
    public init(name: String, file: [UInt8]) throws(SignatureError) {
        self.name = name
        let lines = String(decoding: file, as: UTF8.self).split(whereSeparator: \.isNewline).map {
            String($0.filter { $0 != " " && $0 != "\t" })
        }
        if let start = lines.firstIndex(of: "-----BEGINPUBLICKEY-----") {
            let text = lines[(start + 1)...].prefix { !$0.hasPrefix("-----") }.joined()
            guard let der = Base64.decode(text), der.starts(with: Self.prefix),
                der.count == Self.prefix.count + Ed25519.keyLength
            else { throw .unreadable("not an Ed25519 public key (openssl pkey -pubout)") }
            bytes = Array(der.dropFirst(Self.prefix.count))
            minisignID = nil
        } else {
            // The comment may be missing: minisign takes the key alone too.
            guard let line = lines.last, let key = Base64.decode(line), key.count == 2 + 8 + Ed25519.keyLength,
                key.starts(with: Array("Ed".utf8))
            else { throw .unreadable("neither a PEM public key nor one of minisign's") }
            minisignID = Array(key[2..<10])
            bytes = Array(key[10...])
        }
    }

    /// SubjectPublicKeyInfo of an Ed25519 key, up to the key (RFC 8410, section 4).
    private static let prefix: [UInt8] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]
}
