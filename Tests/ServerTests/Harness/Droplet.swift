import OCI
import TestSupport

/// A small droplet made on the spot: an uncompressed tar with one file of the app.
struct Droplet: Sendable {
    let bytes: [UInt8]
    let sha256: String
    let sha1: String

    /// - Parameters:
    ///   - text: what makes it different from others.
    ///   - size: bytes of noise beside it, which don't compress.
    init(_ text: String, noise size: Int = 0) {
        var bytes = Self.entry("./app/", kind: "5", [])
        bytes += Self.entry("./app/index.html", kind: "0", Array(text.utf8))
        if size > 0 { bytes += Self.entry("./app/noise", kind: "0", makeNoise(size, seed: text)) }
        bytes += Self.entry("./staging_info.yml", kind: "0", Array(#"{"start_command":"sleep 1"}"#.utf8))
        bytes += [UInt8](repeating: 0, count: 1024)
        self.bytes = bytes
        sha256 = Digest.of(bytes).hex
        var hasher = SHA1Hasher()
        bytes.withUnsafeBytes { hasher.update($0) }
        sha1 = hasher.finish()
    }

    private static func entry(_ name: String, kind: String, _ content: [UInt8]) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            header.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
        }
        func octal(_ number: Int, _ width: Int) -> String {
            let digits = String(number, radix: 8)
            return String(repeating: "0", count: width - digits.utf8.count) + digits
        }
        put(name, at: 0)
        put(octal(kind == "5" ? 0o755 : 0o644, 7), at: 100)
        put(octal(2000, 7), at: 108)
        put(octal(2000, 7), at: 116)
        put(octal(content.count, 11), at: 124)
        put(octal(1_700_000_000, 11), at: 136)
        put("        ", at: 148)
        put(kind, at: 156)
        put("ustar\u{0}00", at: 257)
        put(octal(header.reduce(0) { $0 + Int($1) }, 6) + "\u{0} ", at: 148)
        return header + content + [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }
}

/// Bytes that don't compress, the same for the same seed.
func makeNoise(_ size: Int, seed: String) -> [UInt8] {
    var random = SeededRandom(
        seed: seed.utf8.reduce(14_695_981_039_346_656_037) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 })
    return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
        while count < size {
            withUnsafeBytes(of: random.next()) { word in
                for byte in word where count < size {
                    buffer[count] = byte
                    count += 1
                }
            }
        }
    }
}
