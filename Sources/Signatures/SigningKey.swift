import CLibcrypto
import OCI

/// An Ed25519 key that signs (RFC 8032). The same key and content always give the same signature.
public final class SigningKey: @unchecked Sendable {
    // Safe to share between threads: the key never changes after `init`, and libcrypto lets several sign with it.
    private let key: OpaquePointer
    /// The SHA-256 of the public key's DER form (SubjectPublicKeyInfo, RFC 8410), in hexadecimal.
    public let id: String

    /// - Parameter pem: `-----BEGIN PRIVATE KEY-----`, an Ed25519 key in PKCS #8, not encrypted.
    /// - Throws: `.unreadable`, whose reason quotes nothing of the PEM.
    public init(pem: [UInt8]) throws(SignatureError) {
        let read = pem.withUnsafeBytes { bytes -> OpaquePointer? in
            guard let memory = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return nil }
            defer { BIO_free(memory) }
            // The callback refuses to give a password: without it, libcrypto would ask for one at the terminal.
            return PEM_read_bio_PrivateKey(memory, nil, { _, _, _, _ in -1 }, nil)
        }
        guard let read else {
            ERR_clear_error()
            throw .unreadable("it is no private key in PEM (PKCS #8), or it is encrypted")
        }
        guard EVP_PKEY_get_id(read) == EVP_PKEY_ED25519 else {
            EVP_PKEY_free(read)
            throw .unreadable("it is no Ed25519 key")
        }
        var der: UnsafeMutablePointer<UInt8>?
        let length = i2d_PUBKEY(read, &der)
        guard let start = der, length > 0 else {
            EVP_PKEY_free(read)
            throw .unreadable("its public key can't be had")
        }
        id = Digest.of(UnsafeBufferPointer(start: start, count: Int(length))).hex
        CRYPTO_free(der, #file, #line)
        key = read
    }

    deinit { EVP_PKEY_free(key) }

    /// Signs content.
    /// - Returns: the signature's 64 bytes.
    /// - Throws: `.signing` if libcrypto fails, for example for lack of memory.
    public func signature(of content: [UInt8]) throws(SignatureError) -> [UInt8] {
        guard let context = EVP_MD_CTX_new() else { throw .signing("signing finds no memory") }
        defer { EVP_MD_CTX_free(context) }
        var signature = [UInt8](repeating: 0, count: Ed25519.signatureLength)
        var length = signature.count
        guard EVP_DigestSignInit(context, nil, nil, nil, key) == 1,
            EVP_DigestSign(context, &signature, &length, content, content.count) == 1, length == Ed25519.signatureLength
        else {
            ERR_clear_error()
            throw .signing("signing failed")
        }
        return signature
    }
}

/// The checking of Ed25519 signatures (RFC 8032); `SigningKey` makes them.
enum Ed25519 {
    static let keyLength = 32
    static let signatureLength = 64

    static func isValid(_ signature: [UInt8], of message: UnsafeRawBufferPointer, by key: [UInt8]) -> Bool {
        guard signature.count == signatureLength, key.count == keyLength,
            let publicKey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, key, key.count)
        else { return false }
        defer { EVP_PKEY_free(publicKey) }
        guard let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        guard EVP_DigestVerifyInit(context, nil, nil, nil, publicKey) == 1 else { return false }
        let nothing: [UInt8] = [0]
        return nothing.withUnsafeBufferPointer { nothing in
            let start = message.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? nothing.baseAddress
            return EVP_DigestVerify(context, signature, signature.count, start, message.count) == 1
        }
    }
}
