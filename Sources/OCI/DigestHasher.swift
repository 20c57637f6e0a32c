import CLibcrypto

/// A streaming hasher for digests. A copy of it is a saved state: both go on independently from the same point.
public struct DigestHasher: Sendable {
    private enum Context {
        case sha256(SHA256_CTX)
        case sha512(SHA512_CTX)
    }

    public let algorithm: DigestAlgorithm
    private var context: Context

    public init(_ algorithm: DigestAlgorithm) {
        self.algorithm = algorithm
        switch algorithm {
        case .sha256:
            var state = SHA256_CTX()
            SHA256_Init(&state)
            context = .sha256(state)
        case .sha512:
            var state = SHA512_CTX()
            SHA512_Init(&state)
            context = .sha512(state)
        }
    }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        switch context {
        case .sha256(var state):
            SHA256_Update(&state, bytes.baseAddress, bytes.count)
            context = .sha256(state)
        case .sha512(var state):
            SHA512_Update(&state, bytes.baseAddress, bytes.count)
            context = .sha512(state)
        }
    }

    public mutating func update(_ bytes: some Sequence<UInt8>) {
        if bytes.withContiguousStorageIfAvailable({ update(UnsafeRawBufferPointer($0)) }) == nil {
            Array(bytes).withUnsafeBytes { update($0) }
        }
    }

    /// The digest of everything up to here. The hasher itself stays as it is and may go on.
    public func finish() -> Digest { Digest(algorithm, bytes: bytes()) }

    /// The same as raw bytes: 32 of a SHA-256, 64 of a SHA-512.
    public func bytes() -> [UInt8] {
        switch context {
        case .sha256(var state):
            var bytes = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
            SHA256_Final(&bytes, &state)
            return bytes
        case .sha512(var state):
            var bytes = [UInt8](repeating: 0, count: Int(SHA512_DIGEST_LENGTH))
            SHA512_Final(&bytes, &state)
            return bytes
        }
    }
}

/// A streaming SHA-1, for the checksum that older cloud controllers name droplets by. Never a digest.
public struct SHA1Hasher: Sendable {
    private var state = SHA_CTX()

    public init() { SHA1_Init(&state) }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        SHA1_Update(&state, bytes.baseAddress, bytes.count)
    }

    /// 40 lower-case hexadecimal digits.
    public func finish() -> String {
        var copy = state
        var bytes = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
        SHA1_Final(&bytes, &copy)
        return hexadecimal(bytes)
    }
}
