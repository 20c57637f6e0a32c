import CLibcrypto

/// Ed25519 (RFC 8032), as far as signatures are checked; `SigningKey` makes them.
enum Ed25519 {
    static let keyLength = 32
    static let signatureLength = 64

    static func isValid(_ signature: [UInt8], of message: UnsafeRawBufferPointer, by key: [UInt8]) -> Bool {
        guard signature.count == signatureLength, key.count == keyLength,
            let context = EVP_MD_CTX_new(),
            let publicKey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, key, key.count)
        else { return false }
        defer {
            EVP_PKEY_free(publicKey)
            EVP_MD_CTX_free(context)
        }
        guard EVP_DigestVerifyInit(context, nil, nil, nil, publicKey) == 1 else { return false }
        let nothing: [UInt8] = [0]
        return nothing.withUnsafeBufferPointer { nothing in
            let start = message.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? nothing.baseAddress
            return EVP_DigestVerify(context, signature, signature.count, start, message.count) == 1
        }
    }
}
