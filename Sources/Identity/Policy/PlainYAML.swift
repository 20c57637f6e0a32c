import JSON

/// The part of YAML that people write settings in, and nothing of the rest: block mappings and lists by indentation (a
/// list's items are scalars or mappings), `[a, b]` and `{a: b}` that end on their line, strings plain or quoted, comments. A file that is JSON is read as JSON.
///
/// Anchors, tags, several documents, multi-line strings, tabs and a key that appears twice are errors. Scalars are
/// strings; nothing is guessed to be a number, a date or a truth value.
enum PlainYAML {
    /// How deep mappings and lists may be nested.
    static let maximumDepth = 16

    struct Fault: Error {
        /// From 1 on.
        let line: Int
        let reason: String
    }

    /// What was read, and where it stands.
    struct Document {
        let value: JSONValue
        /// Lines of keys by their paths.
        fileprivate let lines: [[String]: Int]

        /// The line of a key, or else of the nearest key above it; 0 in JSON.
        func line(of path: [String]) -> Int {
            var path = path
            while !path.isEmpty {
                if let line = lines[path] { return line }
                path.removeLast()
            }
            return 0
        }
    }

    static func document(_ text: String) throws(Fault) -> Document {
        if text.drop(while: \.isWhitespace).first == "{" {
            do {
                return Document(value: try JSONValue(parsing: text), lines: [:])
            } catch {
                throw Fault(line: 1, reason: error.description)
            }
        }
        var parser = BlockParser(lines: try lines(of: text))
        guard let first = parser.next else { return Document(value: .null, lines: [:]) }
        guard first.indent == 0 else { throw Fault(line: first.number, reason: "the first line is indented") }
        let value = try parser.block(indent: 0, path: [])
        if let rest = parser.next { throw Fault(line: rest.number, reason: "the indentation does not fit") }
        return Document(value: value, lines: parser.keyLines)
    }

    struct Line {
        let number: Int
        let indent: Int
        let text: Substring
    }

    private static func lines(of text: String) throws(Fault) -> [Line] {
        var lines: [Line] = []
        var number = 0
        for bytes in text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false) {
            number += 1
            let line = Substring(bytes.last == 0x0D ? bytes.dropLast() : bytes)
            let indent = line.prefix { $0 == " " }.count
            let content = withoutComment(line.dropFirst(indent))
            guard !content.isEmpty else { continue }
            guard !content.contains("\t") else { throw Fault(line: number, reason: "there is a tab") }
            lines.append(Line(number: number, indent: indent, text: content))
        }
        return lines
    }

    /// A comment begins with `#` at the line's start or after a space, outside quotes.
    private static func withoutComment(_ text: Substring) -> Substring {
        var quote: Character?
        var previous: Character = " "
        var end = text.endIndex
        for index in text.indices {
            let character = text[index]
            if let open = quote {
                if character == open, previous != "\\" { quote = nil }
            } else if character == "#", previous == " " {
                end = index
                break
            } else if (character == "\"" || character == "'"), " [{,:-".contains(previous) {
                quote = character
            }
            previous = character
        }
        var result = text[..<end]
        while result.last == " " { result.removeLast() }
        return result
    }

    /// What stands behind a key: a scalar, or a list or mapping on one line.
    static func inline(_ text: Substring, line: Int) throws(Fault) -> JSONValue {
        guard text.first == "[" || text.first == "{" else { return .string(try scalar(text, line: line)) }
        var parser = FlowParser(rest: text, line: line)
        return try parser.whole()
    }

    static func scalar(_ text: Substring, line: Int) throws(Fault) -> String {
        switch text.first {
        case "\"":
            guard case .string(let value)? = try? JSONValue(parsing: String(text)) else {
                throw Fault(line: line, reason: "a quoted string is not as it should be")
            }
            return value
        case "'":
            let inner = text.dropFirst().dropLast()
            guard text.count >= 2, text.last == "'", !inner.contains("'") else {
                throw Fault(line: line, reason: "a quoted string is not as it should be")
            }
            return String(inner)
        case nil: throw Fault(line: line, reason: "a value is missing")
        case let first? where "&*!|>%@`{}[],?#".contains(first):
            throw Fault(line: line, reason: "'\(first)' can't begin a value here")
        default: return String(text)
        }
    }

    static func trim(_ text: Substring) -> Substring {
        var text = text
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}

private struct BlockParser {
    private var lines: [PlainYAML.Line]
    var index = 0
    private(set) var keyLines: [[String]: Int] = [:]

    init(lines: [PlainYAML.Line]) { self.lines = lines }

    var next: PlainYAML.Line? { index < lines.count ? lines[index] : nil }

    mutating func block(indent: Int, path: [String]) throws(PlainYAML.Fault) -> JSONValue {
        guard let first = next else { return .null }
        guard path.count < PlainYAML.maximumDepth else { throw .init(line: first.number, reason: "nested too deep") }
        return first.text == "-" || first.text.hasPrefix("- ")
            ? try list(indent: indent, path: path) : try mapping(indent: indent, path: path)
    }

    private mutating func list(indent: Int, path: [String]) throws(PlainYAML.Fault) -> JSONValue {
        var items: [JSONValue] = []
        while let line = next, line.indent == indent, line.text == "-" || line.text.hasPrefix("- ") {
            let path = path + [String(items.count)]
            keyLines[path] = line.number
            let content = line.text.dropFirst().drop { $0 == " " }
            if isMapping(content, line) {
                // Its first key stands behind the dash, the others below that key.
                let place = indent + line.text.count - content.count
                lines[index] = PlainYAML.Line(number: line.number, indent: place, text: content)
                guard path.count < PlainYAML.maximumDepth else {
                    throw .init(line: line.number, reason: "nested too deep")
                }
                items.append(try mapping(indent: place, path: path))
            } else {
                items.append(try PlainYAML.inline(content, line: line.number))
                index += 1
            }
        }
        return .array(items)
    }

    private func isMapping(_ content: Substring, _ line: PlainYAML.Line) -> Bool {
        guard let first = content.first, first != "[", first != "{" else { return false }
        return (try? split(PlainYAML.Line(number: line.number, indent: 0, text: content))) != nil
    }

    private mutating func mapping(indent: Int, path: [String]) throws(PlainYAML.Fault) -> JSONValue {
        var members: [String: JSONValue] = [:]
        while let line = next, line.indent == indent {
            let (key, rest) = try split(line)
            index += 1
            let path = path + [key]
            keyLines[path] = line.number
            let value: JSONValue
            if !rest.isEmpty {
                value = try PlainYAML.inline(rest, line: line.number)
            } else if let below = next, below.indent > indent || (below.indent == indent && below.text.hasPrefix("-")) {
                value = try block(indent: below.indent, path: path)
            } else {
                value = .null
            }
            guard members.updateValue(value, forKey: key) == nil else {
                throw .init(line: line.number, reason: "'\(key)' appears twice")
            }
        }
        return .object(members)
    }

    /// A line's key, and what follows its colon.
    private func split(_ line: PlainYAML.Line) throws(PlainYAML.Fault) -> (String, Substring) {
        var search = line.text.startIndex
        if let quote = line.text.first, quote == "\"" || quote == "'" {
            guard let end = line.text.dropFirst().firstIndex(of: quote) else {
                throw .init(line: line.number, reason: "a quoted string does not end")
            }
            search = line.text.index(after: end)
        }
        var colon = line.text[search...].firstIndex(of: ":")
        while let found = colon {
            let after = line.text.index(after: found)
            if after == line.text.endIndex || line.text[after] == " " { break }
            colon = line.text[after...].firstIndex(of: ":")
        }
        guard let colon else { throw .init(line: line.number, reason: "it is not KEY: VALUE") }
        let key = try PlainYAML.scalar(PlainYAML.trim(line.text[..<colon]), line: line.number)
        return (key, PlainYAML.trim(line.text[line.text.index(after: colon)...]))
    }
}
