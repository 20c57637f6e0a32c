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
        // By bytes: a garbage collection parses millions.
        let text = String(text)
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")),
            let algorithm = DigestAlgorithm(rawValue: String(text[..<colon]))
        else { throw .digest(text) }
        do { try self.init(algorithm, hex: String(text[text.utf8.index(after: colon)...])) } catch {
            throw .digest(text)
        }
    }

    /// - Parameter bytes: the raw digest, as the hasher made it.
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
