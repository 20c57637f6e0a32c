import Blobs
import Foundation
import HTTPServer
import HTTPTypes
import OCI

extension Checksum {
    /// Parses the SHA-256 of a Digest header (RFC 3230, section 4.3.2): `sha256=` or `sha-256=`, then base64 as the
    /// specification says, or hexadecimal as older clients send it.
    /// - Throws: 400 if the header has no SHA-256.
    init(digestHeader: String) throws(HTTPFailure) {
        for item in digestHeader.split(separator: ",") {
            let parts = item.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            guard parts.count == 2, ["sha256", "sha-256"].contains(parts[0].lowercased()) else { continue }
            var hex = parts[1].lowercased()
            if let bytes = Base64.decode(parts[1]), bytes.count == 32 {
                hex = bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
            }
            if let digest = try? Digest(.sha256, hex: hex) {
                self = .digest(digest)
                return
            }
        }
        throw HTTPFailure(.badRequest, "the Digest header has no SHA-256", code: "290003")
    }
}
