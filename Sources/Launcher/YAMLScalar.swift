/// Single values of YAML 1.2, as they stand on one line.
enum YAMLScalar {
    /// The line without a trailing comment: `#` after white space, outside of quotes.
    static func withoutComment(_ line: Substring) -> Substring {
        var quote: Character?
        var previous: Character = " "
        var index = line.startIndex
        while index < line.endIndex {
            let character = line[index]
            if let open = quote {
                if character == "\\" && open == "\"" {
                    index = line.index(after: index)
                    if index == line.endIndex { break }
                } else if character == open {
                    quote = nil
                }
            } else if character == "#" && previous.isBlank {
                return trimmed(line[..<index])
            } else if (character == "\"" || character == "'") && previous.isBlank {
                quote = character
            }
            previous = character
            index = line.index(after: index)
        }
        return trimmed(line)
    }

    static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.first?.isBlank == true { text.removeFirst() }
        while text.last?.isBlank == true { text.removeLast() }
        return text
    }

    /// Removes all newlines at the end: a block scalar ends with its last line's, which are no part of a command.
    static func withoutTrailingNewline(_ text: String) -> String {
        var text = text
        while text.last?.isNewline == true { text.removeLast() }
        return text
    }

    /// The quoted scalar at the beginning of a text, and what follows its closing quote. Nil if there is none.
    static func quoted(_ text: Substring) -> (value: String, rest: Substring)? {
        guard let quote = text.first, quote == "\"" || quote == "'" else { return nil }
        var value = ""
        var rest = text.dropFirst()
        while let character = rest.popFirst() {
            switch character {
            case quote where quote == "'" && rest.first == "'":
                rest.removeFirst()
                value.append("'")
            case quote:
                return (value, rest)
            case "\\" where quote == "\"":
                guard let escaped = escape(&rest) else { return nil }
                value.unicodeScalars.append(escaped)
            default:
                value.append(character)
            }
        }
        return nil
    }

    /// Takes an escape sequence after its backslash (YAML 1.2, section 5.7); nil if it is not valid.
    private static func escape(_ rest: inout Substring) -> Unicode.Scalar? {
        guard let name = rest.popFirst() else { return nil }
        let length: Int
        switch name {
        case "n": return "\n"
        case "t", "\t": return "\t"
        case "r": return "\r"
        case "0": return "\0"
        case "a": return "\u{7}"
        case "b": return "\u{8}"
        case "e": return "\u{1B}"
        case "f": return "\u{C}"
        case "v": return "\u{B}"
        case "\"", "/", "\\", " ": return name.unicodeScalars.first
        case "x": length = 2
        case "u": length = 4
        case "U": length = 8
        default: return nil
        }
        let digits = rest.prefix(length)
        guard digits.count == length, digits.allSatisfy(\.isHexDigit), let code = UInt32(digits, radix: 16) else {
            return nil
        }
        rest.removeFirst(length)
        return Unicode.Scalar(code)
    }
}

extension Character {
    var isBlank: Bool { self == " " || self == "\t" }
}
