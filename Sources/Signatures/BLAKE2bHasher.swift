import CLibcrypto

/// A streaming BLAKE2b-512 (RFC 7693), which minisign hashes files with before it signs them. Used by one task at a time.
public final class BLAKE2bHasher: @unchecked Sendable {
    private let context = EVP_MD_CTX_new()

    public init() {
        if let context { EVP_DigestInit_ex(context, EVP_blake2b512(), nil) }
    }

    deinit { EVP_MD_CTX_free(context) }

    public func update(_ bytes: UnsafeRawBufferPointer) {
        if let context { EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) }
    }

    /// 64 bytes; called once. Empty, which no signature is of, if the library has no memory.
    public func finish() -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 64)
        guard let context, EVP_DigestFinal_ex(context, &digest, nil) == 1 else { return [] }
        return digest
    }
}
