import CLibcrypto
import OCI

/// A signature in a file of its own, as `openssl pkeyutl -sign -rawin` or minisign write it.
public struct DetachedSignature: Sendable, Hashable {
    /// The largest file that is looked at, in bytes.
    public static let maximumFile = 8 << 10

    private let bytes: [UInt8]
    /// The additions of a minisign file; nil if the file is the bare signature.
    private let minisign: Minisign?

    private struct Minisign: Sendable, Hashable {
        let keyID: [UInt8]
        /// Whether the file's BLAKE2b-512 was signed, instead of the file itself.
        let isPrehashed: Bool
        let comment: [UInt8]
        /// The signature of the first signature and the trusted comment together.
        let commentSignature: [UInt8]
    }

    /// - Parameter file: the bytes of the signature's file: 64 bytes, or a minisign file.
    /// - Throws: `.unreadable`.
    public init(parsing file: [UInt8]) throws(SignatureError) {
        if file.count == Ed25519.signatureLength {
            bytes = file
            minisign = nil
            return
        }
        let lines = String(decoding: file.prefix(Self.maximumFile), as: UTF8.self)
            .split(whereSeparator: \.isNewline).map(String.init)
        let prefix = "trusted comment: "
        guard lines.count == 4, lines[0].hasPrefix("untrusted comment:"), lines[2].hasPrefix(prefix),
            let signature = Base64.decode(lines[1]), signature.count == 2 + 8 + Ed25519.signatureLength,
            let second = Base64.decode(lines[3]), second.count == Ed25519.signatureLength
        else {
            throw .unreadable(
                "the signature is neither 64 bytes (`openssl pkeyutl -sign -rawin -inkey KEY -in FILE`) nor a .minisig "
                    + "file (`minisign -S -s KEY -m FILE`)")
        }
        let isPrehashed: Bool
        switch signature[..<2] {
        case [UInt8(ascii: "E"), UInt8(ascii: "d")]: isPrehashed = false
        case [UInt8(ascii: "E"), UInt8(ascii: "D")]: isPrehashed = true
        default: throw .unreadable("the minisign signature is of an unknown kind")
        }
        bytes = Array(signature[10...])
        minisign = Minisign(
            keyID: Array(signature[2..<10]), isPrehashed: isPrehashed,
            comment: Array(lines[2].utf8.dropFirst(prefix.utf8.count)), commentSignature: second)
    }

    /// Parses a signature's file that is given in base64.
    /// - Throws: `.unreadable`.
    public init(base64 text: String) throws(SignatureError) {
        guard text.utf8.count <= 2 * Self.maximumFile, let bytes = Base64.decode(text) else {
            throw .unreadable("the signature is not in base64")
        }
        try self.init(parsing: bytes)
    }

    /// Whether a BLAKE2b-512 of the message is enough for the check; if not, the whole message is needed at once.
    public var isPrehashed: Bool { minisign?.isPrehashed == true }

    /// Finds the trusted key that made this signature.
    ///
    /// - Parameters:
    ///   - message: the whole message, or its BLAKE2b-512 if `isPrehashed`. It is read once for each key that may have
    ///     made the signature.
    ///   - trusted: the keys to try.
    /// - Throws: `.untrusted`.
    public func signer(of message: UnsafeRawBufferPointer, among trusted: TrustedKeys) throws(SignatureError)
        -> TrustedKey
    {
        let candidates = trusted.keys.filter { key in
            minisign.map { key.minisignID == nil || key.minisignID == $0.keyID } ?? true
        }
        guard let key = candidates.first(where: { Ed25519.isValid(bytes, of: message, by: $0.bytes) }) else {
            throw .untrusted(
                "no trusted key made this signature of these bytes: \(trusted.description)")
        }
        if let minisign {
            let commented = (bytes + minisign.comment).withUnsafeBytes {
                Ed25519.isValid(minisign.commentSignature, of: $0, by: key.bytes)
            }
            guard commented else {
                throw .untrusted("the signature is by \(key.name), but its trusted comment was changed")
            }
        }
        return key
    }

    /// Finds the trusted key that signed a message in memory, which is hashed first if its hash was signed.
    ///
    /// - Throws: `.untrusted`.
    public func signer(of message: [UInt8], among trusted: TrustedKeys) throws(SignatureError) -> TrustedKey {
        var signed = message
        if isPrehashed {
            let hasher = BLAKE2bHasher()
            message.withUnsafeBytes { hasher.update($0) }
            signed = hasher.finish()
        }
        let result: Result<TrustedKey, SignatureError> = signed.withUnsafeBytes { bytes in
            do throws(SignatureError) { return .success(try signer(of: bytes, among: trusted)) } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}

/// A streaming BLAKE2b-512 (RFC 7693), by which minisign hashes files before it signs them. Not safe for use by several
/// tasks at once.
public final class BLAKE2bHasher: @unchecked Sendable {
    private let context = EVP_MD_CTX_new()

    public init() {
        if let context { EVP_DigestInit_ex(context, EVP_blake2b512(), nil) }
    }

    deinit { EVP_MD_CTX_free(context) }

    public func update(_ bytes: UnsafeRawBufferPointer) {
        if let context { EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) }
    }

    /// The hash's 64 bytes. May be called only once.
    ///
    /// - Returns: no bytes if the library had no memory; then no signature of the hash is found valid.
    public func finish() -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 64)
        guard let context, EVP_DigestFinal_ex(context, &digest, nil) == 1 else { return [] }
        return digest
    }
}
