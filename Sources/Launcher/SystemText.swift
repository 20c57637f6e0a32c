/// A string of the operating system: an argument, a variable, a path. It has bytes without NUL, usually but not always
/// UTF-8, which is why they are kept as they are.
package struct SystemText: Hashable, Sendable {
    package let bytes: [UInt8]

    /// Takes the bytes up to the first NUL, where the system would end the string, too.
    package init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes.prefix { $0 != 0 }) }

    package init(_ text: String) { self.init(bytes: text.utf8) }

    /// The text, or nil if the bytes are not UTF-8.
    package var string: String? { String(validating: bytes, as: UTF8.self) }

    /// The text for messages, in which bytes that are not UTF-8 are replaced.
    package var display: String { String(decoding: bytes, as: UTF8.self) }

    package var isEmpty: Bool { bytes.isEmpty }

    package func hasPrefix(_ prefix: String) -> Bool { bytes.starts(with: prefix.utf8) }

    package static func + (left: SystemText, right: SystemText) -> SystemText {
        SystemText(bytes: left.bytes + right.bytes)
    }
}

extension SystemText: ExpressibleByStringLiteral {
    package init(stringLiteral value: String) { self.init(value) }
}

extension SystemText: Comparable {
    /// Byte order, the same in every locale.
    package static func < (left: SystemText, right: SystemText) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

// MARK: - Paths

extension SystemText {
    private static let slash = UInt8(ascii: "/")

    /// The part after the last slash; the whole text if there is none.
    package var lastComponent: SystemText {
        SystemText(bytes: bytes.suffix(from: bytes.lastIndex(of: Self.slash).map { $0 + 1 } ?? 0))
    }

    package func appending(component: SystemText) -> SystemText {
        SystemText(bytes: bytes.last == Self.slash ? bytes : bytes + [Self.slash]) + component
    }

    /// The absolute path without `.`, `..` and doubled slashes, from the text alone: no symbolic link is followed.
    package func absolute(from directory: SystemText) -> SystemText {
        var parts: [ArraySlice<UInt8>] = []
        let whole = bytes.first == Self.slash ? bytes : directory.bytes + [Self.slash] + bytes
        for part in whole.split(separator: Self.slash) {
            if part.elementsEqual("..".utf8) {
                _ = parts.popLast()
            } else if !part.elementsEqual(".".utf8) {
                parts.append(part)
            }
        }
        return SystemText(bytes: [Self.slash] + Array(parts.joined(separator: [Self.slash])))
    }
}
