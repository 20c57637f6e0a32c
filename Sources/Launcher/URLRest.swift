/// What follows the scheme in a service's URL, with what may not stand in a user, a password, a host or a path
/// percent-encoded, so that frameworks can read it.
///
/// The rules are those of Go's `net/url`, by which the predecessors' launchers took a URL or passed it over.
struct URLRest {
    private(set) var bytes: [UInt8] = []

    /// - Returns: nil where Go refuses the URL: for a percent sign without two digits, for a port that is no number, and
    ///   for other bytes than those in a user, a password or a host.
    init?(_ text: [UInt8]) {
        let end = text.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? text.endIndex
        let fragment = text[end...].drop { $0 != UInt8(ascii: "#") }
        var path = text[..<end]
        // Without a slash it is no path, and stays as it is.
        guard path.first == UInt8(ascii: "/") else {
            bytes = text
            return
        }
        if path.starts(with: "//".utf8) {
            let authority = path.dropFirst(2).prefix { $0 != UInt8(ascii: "/") }
            path = path[authority.endIndex...]
            bytes = Array("//".utf8)
            guard appendAuthority(authority) else { return nil }
        }
        guard append(path, keeping: "-_.~$&+,/:;=@!'()*[]%"), Self.isEncoded(fragment) else { return nil }
        bytes += text[end...]
    }

    private mutating func appendAuthority(_ authority: ArraySlice<UInt8>) -> Bool {
        var host = authority
        if let at = authority.lastIndex(of: UInt8(ascii: "@")) {
            let user = authority[..<at]
            host = authority[(at + 1)...]
            guard user.allSatisfy({ Self.isAlphanumeric($0) || "-._:~!$&'()*+,;=%@".utf8.contains($0) }) else {
                return false
            }
            for (index, part) in user.split(
                separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false
            )
            .enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ":")) }
                guard append(part, keeping: "-_.~$&+,;=%") else { return false }
            }
            bytes.append(UInt8(ascii: "@"))
        }
        // An IPv6 address stands in brackets; what follows the last colon outside of them is the port.
        let tail = host.lastIndex(of: UInt8(ascii: "]")).map { host[$0...] } ?? host
        if let colon = tail.lastIndex(of: UInt8(ascii: ":")),
            !tail[(colon + 1)...].allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains)
        {
            return false
        }
        let allowed = "-_.~!$&'()*+,;=:[]<>\""
        return host.allSatisfy { Self.isAlphanumeric($0) || $0 >= 0x80 || allowed.utf8.contains($0) }
            && append(host, keeping: allowed)
    }

    /// Appends the text with all but letters, digits and the bytes of `keeping` encoded.
    private mutating func append(_ text: ArraySlice<UInt8>, keeping: String) -> Bool {
        for byte in text {
            if Self.isAlphanumeric(byte) || keeping.utf8.contains(byte) {
                bytes.append(byte)
            } else {
                bytes += "%\(byte < 16 ? "0" : "")\(String(byte, radix: 16, uppercase: true))".utf8
            }
        }
        return Self.isEncoded(text)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    /// Whether two hexadecimal digits follow each percent sign.
    private static func isEncoded(_ text: ArraySlice<UInt8>) -> Bool {
        text.indices.allSatisfy { index in
            text[index] != UInt8(ascii: "%")
                || text[(index + 1)...].prefix(2).count { Character(Unicode.Scalar($0)).isHexDigit } == 2
        }
    }
}
