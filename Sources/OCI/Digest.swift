import CLibcrypto

/// The digest of some content: `algorithm:hex` (OCI image specification, descriptor.md, "Digests").
///
/// Only registered algorithms and exactly their number of lower-case hexadecimal digits are accepted.
public struct Digest: Hashable, Sendable, Comparable, CustomStringConvertible {
    public let algorithm: DigestAlgorithm
    /// Lower-case hexadecimal, `algorithm.hexLength` characters.
    public let hex: String

    /// - Throws: `OCIError.digest` if the hexadecimal part has another length or other characters.
    public init(_ algorithm: DigestAlgorithm, hex: String) throws(OCIError) {
        guard hex.utf8.count == algorithm.hexLength, Self.isHexadecimal(hex) else { throw .digest(hex) }
        self.algorithm = algorithm
        self.hex = hex
    }

    /// - Throws: `OCIError.digest` if the text is not a digest of a registered algorithm.
    public init(parsing text: some StringProtocol) throws(OCIError) {
        // UTF-8 bytes are faster to compare than characters, and a garbage collection parses millions of digests.
        let text = String(text)
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")),
            let algorithm = DigestAlgorithm(rawValue: String(text[..<colon]))
        else { throw .digest(text) }
        do { try self.init(algorithm, hex: String(text[text.utf8.index(after: colon)...])) } catch {
            throw .digest(text)
        }
    }

    /// - Parameter bytes: the raw digest, as `DigestHasher` makes it.
    init(_ algorithm: DigestAlgorithm, bytes: some Sequence<UInt8>) {
        self.algorithm = algorithm
        self.hex = hexadecimal(bytes)
    }

    /// The digest of bytes in memory.
    public static func of(_ bytes: some Sequence<UInt8>, _ algorithm: DigestAlgorithm = .sha256) -> Digest {
        var hasher = DigestHasher(algorithm)
        hasher.update(bytes)
        return hasher.finish()
    }

    /// Whether this is the digest of bytes in memory.
    public func matches(_ bytes: [UInt8]) -> Bool {
        var hasher = DigestHasher(algorithm)
        bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.bytes().elementsEqual(HexadecimalPairs(hex.utf8))
    }

    public var description: String { "\(algorithm.rawValue):\(hex)" }

    public static func < (left: Digest, right: Digest) -> Bool {
        (left.algorithm.rawValue, left.hex) < (right.algorithm.rawValue, right.hex)
    }

    private static func isHexadecimal(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            for byte in bytes {
                guard byte &- UInt8(ascii: "0") < 10 || byte &- UInt8(ascii: "a") < 6 else { return false }
            }
            return true
        }
    }
}

/// The bytes that pairs of lower-case hexadecimal digits stand for.
private struct HexadecimalPairs: Sequence, IteratorProtocol {
    private var digits: String.UTF8View.Iterator

    init(_ digits: String.UTF8View) { self.digits = digits.makeIterator() }

    mutating func next() -> UInt8? {
        guard let high = digits.next(), let low = digits.next() else { return nil }
        return value(high) << 4 | value(low)
    }

    private func value(_ digit: UInt8) -> UInt8 {
        digit < UInt8(ascii: "a") ? digit &- UInt8(ascii: "0") : digit &- UInt8(ascii: "a") &+ 10
    }
}

/// Lower-case hexadecimal of bytes.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// A digest algorithm registered by the OCI image specification (descriptor.md, "Registered Algorithms").
public enum DigestAlgorithm: String, Hashable, Sendable, CaseIterable {
    case sha256
    case sha512

    /// The digest's length in lower-case hexadecimal digits.
    public var hexLength: Int {
        switch self {
        case .sha256: 64
        case .sha512: 128
        }
    }
}

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

    /// The digest of all bytes so far. The hasher itself does not change, so more bytes may follow.
    public func finish() -> Digest { Digest(algorithm, bytes: bytes()) }

    /// The digest of all bytes so far, as raw bytes: 32 of a SHA-256, 64 of a SHA-512.
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

/// A streaming SHA-1, for the checksum by which older cloud controllers name droplets. It never serves as a digest.
public struct SHA1Hasher: Sendable {
    private var state = SHA_CTX()

    public init() { SHA1_Init(&state) }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        SHA1_Update(&state, bytes.baseAddress, bytes.count)
    }

    /// The checksum of all bytes so far, as 40 lower-case hexadecimal digits.
    public func finish() -> String {
        var copy = state
        var bytes = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
        SHA1_Final(&bytes, &copy)
        return hexadecimal(bytes)
    }
}

/// A streaming MD5, for the `Content-MD5` that older cloud controllers check. It never serves as a digest.
public struct MD5Hasher: Sendable {
    private var state = MD5_CTX()

    public init() { MD5_Init(&state) }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        MD5_Update(&state, bytes.baseAddress, bytes.count)
    }

    /// The checksum of all bytes so far, as 16 raw bytes.
    public func bytes() -> [UInt8] {
        var copy = state
        var bytes = [UInt8](repeating: 0, count: Int(MD5_DIGEST_LENGTH))
        MD5_Final(&bytes, &copy)
        return bytes
    }
}
