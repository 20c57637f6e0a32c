import OCI
import Testing

private let sha256Hex = String(repeating: "0123456789abcdef", count: 4)
private let sha512Hex = String(repeating: "0123456789abcdef", count: 8)

/// 63 digits of a SHA-256.
private let short = String(sha256Hex.dropLast())

private let invalidDigests: [String] = [
    "", ":", "sha256", "sha256:", ":\(sha256Hex)", sha256Hex, "sha256:\(short)", "sha256:\(sha256Hex)0",
    "sha256:\(sha512Hex)", "sha512:\(sha256Hex)", "sha256:\(sha256Hex.uppercased())", "SHA256:\(sha256Hex)",
    "sha1:\(sha256Hex.prefix(40))", "md5:\(sha256Hex.prefix(32))", "sha384:\(sha512Hex.prefix(96))", "sha256: \(short)",
    "sha256:\(short)g", "sha256:\(short)\n", "sha256:\(short)\0", "sha256:\(sha256Hex)\n", " sha256:\(sha256Hex)",
    "sha256::\(short)", "sha256:sha256:\(sha256Hex)", "sha256:\(short.dropLast())é", "sha256:../\(short.dropLast(2))",
    "sha256:%2e\(short.dropLast(2))", "sha256:\(short.dropLast(2))\u{FF10}", "sha256:\(short)\u{FF10}",
    "sha256+b64:\(sha256Hex)", "sha256:\(String(repeating: "a", count: 10_240))",
]

@Suite("Digests")
struct DigestTests {
    @Test(
        "A digest is an algorithm and its hexadecimal digits",
        arguments: [("sha256", sha256Hex, DigestAlgorithm.sha256), ("sha512", sha512Hex, .sha512)])
    func valid(name: String, hex: String, algorithm: DigestAlgorithm) throws {
        let digest = try Digest(parsing: "\(name):\(hex)")
        #expect(digest.algorithm == algorithm)
        #expect(digest.hex == hex)
        #expect(digest.description == "\(name):\(hex)")
        #expect(try Digest(algorithm, hex: hex) == digest)
        #expect(try Digest(parsing: "x\(name):\(hex)".dropFirst()) == digest)
    }

    @Test("Anything else is no digest", arguments: invalidDigests)
    func invalid(text: String) {
        #expect(throws: OCIError.self) { try Digest(parsing: text) }
    }

    @Test("Digests sort by algorithm, then by digits")
    func order() throws {
        let zeros = try Digest(.sha256, hex: String(repeating: "0", count: 64))
        let ones = try Digest(.sha256, hex: String(repeating: "1", count: 64))
        let longer = try Digest(.sha512, hex: String(repeating: "0", count: 128))
        #expect([longer, ones, zeros].sorted() == [zeros, ones, longer])
    }
}
