/// A header value with parameters: `form-data; name="droplet"` (RFC 9110, section 5.6.6).
struct HeaderParameters: Equatable {
    /// What stands before the first semicolon, in lower case.
    let value: String
    private(set) var parameters: [String: String] = [:]

    /// - Returns: nil if the text is malformed or has a parameter twice.
    init?(_ text: some StringProtocol) {
        var rest = Array(text.utf8)[...]
        let value = Self.trim(Self.take(&rest) { $0 != UInt8(ascii: ";") })
        guard !value.isEmpty else { return nil }
        self.value = String(decoding: value, as: UTF8.self).lowercased()
        while rest.first == UInt8(ascii: ";") {
            rest.removeFirst()
            let name = Self.trim(Self.take(&rest) { $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: ";") })
            if name.isEmpty, rest.isEmpty { break }
            guard !name.isEmpty, rest.popFirst() == UInt8(ascii: "="), let value = Self.parameter(&rest) else {
                return nil
            }
            let key = String(decoding: name, as: UTF8.self).lowercased()
            guard parameters.updateValue(value, forKey: key) == nil else { return nil }
        }
    }

    subscript(_ name: String) -> String? { parameters[name] }

    private static func parameter(_ rest: inout ArraySlice<UInt8>) -> String? {
        rest = rest.drop { $0 == 0x20 || $0 == 0x09 }
        guard rest.first == UInt8(ascii: "\"") else {
            let token = trim(take(&rest) { $0 != UInt8(ascii: ";") })
            return token.isEmpty ? nil : String(validating: token, as: UTF8.self)
        }
        rest.removeFirst()
        var bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""):
                rest = rest.drop { $0 == 0x20 || $0 == 0x09 }
                guard rest.isEmpty || rest.first == UInt8(ascii: ";") else { return nil }
                return String(validating: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"):
                // Browsers send Windows paths with single backslashes, so a backslash escapes only quotes and
                // backslashes.
                if let next = rest.first, next == UInt8(ascii: "\"") || next == UInt8(ascii: "\\") {
                    rest.removeFirst()
                    bytes.append(next)
                } else {
                    bytes.append(byte)
                }
            default: bytes.append(byte)
            }
        }
        return nil
    }

    private static func take(_ rest: inout ArraySlice<UInt8>, while condition: (UInt8) -> Bool) -> ArraySlice<UInt8> {
        let taken = rest.prefix(while: condition)
        rest = rest.dropFirst(taken.count)
        return taken
    }

    private static func trim(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var bytes = bytes.drop { $0 == 0x20 || $0 == 0x09 }
        while bytes.last == 0x20 || bytes.last == 0x09 { bytes.removeLast() }
        return bytes
    }
}
