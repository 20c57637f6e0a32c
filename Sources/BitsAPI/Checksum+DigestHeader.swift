import Droplets
import Foundation
import HTTPServer
import HTTPTypes
import Images
import OCI
import Rootfs

extension Checksum {
    /// The SHA-256 of a Digest header (RFC 3230, section 4.3.2): `sha256=` or `sha-256=`, then base64 as the
    /// specification has it, or hexadecimal as the older clients send it.
    /// - Throws: 400 if there is none.
    init(digestHeader: String) throws(HTTPFailure) {
        for item in digestHeader.split(separator: ",") {
            let parts = item.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            guard parts.count == 2, ["sha256", "sha-256"].contains(parts[0].lowercased()) else { continue }
            if case .sha256(let hex)? = DropletHash(parts[1].lowercased()) {
                self = .sha256(hex)
                return
            }
            if let bytes = Base64.decode(parts[1]), bytes.count == 32 {
                self = .sha256(bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined())
                return
            }
        }
        throw HTTPFailure(.badRequest, "the Digest header has no SHA-256", code: "290003")
    }
}
