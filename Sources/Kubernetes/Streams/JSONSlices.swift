import JSON

/// Where the members of an object, or the elements of an array, lie in a document's bytes. What lies there is not looked
/// at closer: whoever wants it parses that slice alone, so a long list never stands in memory as values.
enum JSONSlices {
    /// What is wrong, and at which byte.
    struct Fault: Error, CustomStringConvertible {
        let message: String
        let offset: Int

        var description: String { "\(message) at byte \(offset)" }
    }

    /// The members of the object that the bytes are.
    static func members(of bytes: ArraySlice<UInt8>) throws(Fault) -> [(name: String, value: ArraySlice<UInt8>)] {
        var scanner = Scanner(bytes: bytes)
        var members: [(name: String, value: ArraySlice<UInt8>)] = []
        try scanner.expect("{")
        if scanner.take("}") { return members }
        repeat {
            scanner.skipSpace()
            let name = try scanner.value()
            guard case .string(let text)? = try? JSONValue(parsing: name) else {
                throw scanner.fail("a name is missing")
            }
            try scanner.expect(":")
            members.append((text, try scanner.value()))
        } while scanner.take(",")
        try scanner.expect("}")
        return members
    }

    /// The elements of the array that the bytes are.
    static func elements(of bytes: ArraySlice<UInt8>) throws(Fault) -> [ArraySlice<UInt8>] {
        var scanner = Scanner(bytes: bytes)
        var elements: [ArraySlice<UInt8>] = []
        try scanner.expect("[")
        if scanner.take("]") { return elements }
        repeat { elements.append(try scanner.value()) } while scanner.take(",")
        try scanner.expect("]")
        return elements
    }

    private struct Scanner {
        let bytes: ArraySlice<UInt8>
        var position: Int

        init(bytes: ArraySlice<UInt8>) {
            self.bytes = bytes
            position = bytes.startIndex
        }

        func fail(_ message: String) -> Fault {
            Fault(message: message, offset: position - bytes.startIndex)
        }

        mutating func skipSpace() {
            while position < bytes.endIndex, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[position]) { position += 1 }
        }

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            skipSpace()
            guard position < bytes.endIndex, bytes[position] == UInt8(ascii: character) else { return false }
            position += 1
            return true
        }

        mutating func expect(_ character: Unicode.Scalar) throws(Fault) {
            guard take(character) else { throw fail("'\(character)' is missing") }
        }

        /// Goes to a value's end: a string's, a number's or word's, or the bracket that closes its first one.
        mutating func value() throws(Fault) -> ArraySlice<UInt8> {
            skipSpace()
            let start = position
            let end = bytes.withUnsafeBufferPointer { buffer -> Int? in
                var index = position - bytes.startIndex
                var depth = 0
                while index < buffer.count {
                    switch buffer[index] {
                    case UInt8(ascii: "\""):
                        index += 1
                        while index < buffer.count, buffer[index] != UInt8(ascii: "\"") {
                            index += buffer[index] == UInt8(ascii: "\\") ? 2 : 1
                        }
                        guard index < buffer.count else { return nil }
                        if depth == 0 { return index + 1 }
                    case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                    case UInt8(ascii: "}"), UInt8(ascii: "]"):
                        // Without an open bracket it ends what this value stands in.
                        if depth == 0 { return index }
                        depth -= 1
                        if depth == 0 { return index + 1 }
                    case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x0A, 0x0D, 0x09:
                        if depth == 0 { return index }
                    default: break
                    }
                    index += 1
                }
                return depth == 0 ? index : nil
            }
            guard let end, end + bytes.startIndex > start else { throw fail("a value is missing or does not end") }
            position = bytes.startIndex + end
            return bytes[start..<position]
        }
    }
}
