import JSON

/// Why `BlockYAML` can't read a text, and at which line, counted from 1.
struct BlockYAMLError: Error, Hashable, CustomStringConvertible {
    let line: Int
    let message: String
    var description: String { "\(message) (line \(line))" }
}

/// Reads the part of YAML 1.2 that lifecycle files are written in: block mappings and sequences, flow collections on
/// one line, plain and quoted scalars, literal and folded blocks, comments. All scalars are strings, and a missing
/// value is an empty string. Anchors, tags, more than one document and quoted scalars over several lines are errors.
struct BlockYAML {
    static let maximumDepth = 16

    struct Line {
        var indent: Int
        var text: Substring
        let number: Int
        /// Whether the line has only space or a comment. In a literal or folded block a comment is text.
        var isBlank: Bool { text.isEmpty || text.first == "#" }
    }

    var lines: [Line]
    var position = 0

    /// - Parameter text: the whole document; the caller bounds its size.
    static func parse(_ text: String) throws(BlockYAMLError) -> JSONValue {
        var parser = BlockYAML(text)
        parser.skipBlank()
        if let line = parser.current, line.indent == 0, YAMLScalar.withoutComment(line.text) == "---" {
            parser.position += 1
        }
        let value = try parser.node(from: 0, depth: 0)
        parser.skipBlank()
        if let line = parser.current { throw BlockYAMLError(line: line.number, message: "unexpected text") }
        return value
    }

    init(_ text: String) {
        lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated()
            .map { number, line in
                let text = line.drop { $0 == " " }
                return Line(indent: line.count - text.count, text: YAMLScalar.trimmed(text), number: number + 1)
            }
    }

    var current: Line? { position < lines.count ? lines[position] : nil }

    func fail(_ message: String) -> BlockYAMLError {
        BlockYAMLError(line: current?.number ?? lines.count, message: message)
    }

    mutating func skipBlank() {
        while let line = current, line.isBlank { position += 1 }
    }

    /// Reads the value whose lines are indented by `indent` or more; an empty string if there are none.
    mutating func node(from indent: Int, depth: Int) throws(BlockYAMLError) -> JSONValue {
        guard depth < Self.maximumDepth else { throw fail("nested too deep") }
        skipBlank()
        guard let line = current, line.indent >= indent else { return .string("") }
        if Self.isItem(line.text) { return try sequence(line.indent, depth: depth) }
        if Self.splitKey(line.text) != nil { return try mapping(line.indent, depth: depth) }
        position += 1
        return try value(line.text, parent: indent - 1, depth: depth)
    }

    mutating func mapping(_ indent: Int, depth: Int) throws(BlockYAMLError) -> JSONValue {
        var members: JSONObject = [:]
        while true {
            skipBlank()
            guard let line = current, line.indent >= indent else { return .object(members) }
            guard line.indent == indent, let (key, rest) = Self.splitKey(line.text) else {
                throw fail("a member of the mapping is missing")
            }
            guard members[key] == nil else { throw fail("a member appears twice") }
            position += 1
            if YAMLScalar.withoutComment(rest).isEmpty {
                skipBlank()
                let isSequence = current.map { $0.indent == indent && Self.isItem($0.text) } ?? false
                members[key] =
                    isSequence
                    ? try sequence(indent, depth: depth + 1) : try node(from: indent + 1, depth: depth + 1)
                if isSequence { continue }
            } else {
                members[key] = try value(rest, parent: indent, depth: depth)
            }
        }
    }

    mutating func sequence(_ indent: Int, depth: Int) throws(BlockYAMLError) -> JSONValue {
        guard depth < Self.maximumDepth else { throw fail("nested too deep") }
        var elements: [JSONValue] = []
        while true {
            skipBlank()
            guard let line = current, line.indent >= indent, Self.isItem(line.text) else { return .array(elements) }
            guard line.indent == indent else { throw fail("an item is indented differently") }
            let rest = line.text.dropFirst().drop(while: \.isBlank)
            if rest.isEmpty || rest.first == "#" {
                position += 1
                elements.append(try node(from: indent + 1, depth: depth + 1))
            } else if Self.isItem(rest) || Self.splitKey(rest) != nil {
                // The text after the dash is a block of its own, indented to the column of its first character.
                lines[position].indent = indent + line.text.count - rest.count
                lines[position].text = rest
                elements.append(try node(from: indent + 1, depth: depth + 1))
            } else {
                position += 1
                elements.append(try value(rest, parent: indent, depth: depth))
            }
        }
    }

    static func isItem(_ text: Substring) -> Bool { text == "-" || text.hasPrefix("- ") }

    /// Splits a line of the form `key: rest`; nil if it has another form.
    static func splitKey(_ text: Substring) -> (key: String, rest: Substring)? {
        if let (key, rest) = YAMLScalar.quoted(text) {
            let rest = rest.drop(while: \.isBlank)
            guard rest.first == ":", rest.dropFirst().first?.isBlank ?? true else { return nil }
            return (key, YAMLScalar.trimmed(rest.dropFirst()))
        }
        guard let first = text.first, !"[{|>\"'&*!%@`".contains(first) else { return nil }
        var index = text.startIndex
        while let colon = text[index...].firstIndex(of: ":") {
            let rest = text[text.index(after: colon)...]
            if rest.first?.isBlank ?? true {
                let key = YAMLScalar.trimmed(text[..<colon])
                let isCommentedOut = YAMLScalar.withoutComment(key) != key
                return key.isEmpty || isCommentedOut ? nil : (String(key), YAMLScalar.trimmed(rest))
            }
            index = rest.startIndex
        }
        return nil
    }
}

extension BlockYAML {
    /// Reads a value that begins on the line before the current one, after its key or dash, and goes on with all lines
    /// that are indented deeper than `parent`.
    mutating func value(_ text: Substring, parent: Int, depth: Int) throws(BlockYAMLError) -> JSONValue {
        switch text.first {
        case "|", ">":
            return .string(try block(header: YAMLScalar.withoutComment(text), parent: parent))
        case "\"", "'":
            guard let (value, rest) = YAMLScalar.quoted(text), YAMLScalar.withoutComment(" " + rest).isEmpty else {
                throw failBefore("a quoted scalar does not end on its line")
            }
            return .string(value)
        case "[", "{":
            var rest = text
            let value = try flow(&rest, depth: depth + 1)
            guard YAMLScalar.withoutComment(" " + rest).isEmpty else { throw failBefore("unexpected text") }
            return value
        case "&", "*", "!", "%", "@", "`":
            throw failBefore("anchors, aliases and tags are not supported")
        default:
            var plain = String(YAMLScalar.withoutComment(text))
            while let line = try continuation(parent) { plain += " " + YAMLScalar.withoutComment(line) }
            return .string(plain)
        }
    }

    private func failBefore(_ message: String) -> BlockYAMLError {
        BlockYAMLError(line: position > 0 ? lines[position - 1].number : 1, message: message)
    }

    /// Takes the next line of a plain scalar; nil if the scalar has ended.
    private mutating func continuation(_ parent: Int) throws(BlockYAMLError) -> Substring? {
        guard let line = current, !line.isBlank, line.indent > parent else { return nil }
        guard Self.splitKey(line.text) == nil else { throw fail("a mapping inside a plain scalar") }
        position += 1
        return line.text
    }

    /// Reads a literal (`|`) or folded (`>`) block.
    private mutating func block(header: Substring, parent: Int) throws(BlockYAMLError) -> String {
        let style = header.dropFirst()
        guard style.isEmpty || style == "-" || style == "+" else {
            throw failBefore("indentation indicators are not supported")
        }
        var block: [Line] = []
        while let line = current, line.text.isEmpty || line.indent > parent {
            block.append(line)
            position += 1
        }
        var trailing = 0
        while block.last?.text.isEmpty == true {
            block.removeLast()
            trailing += 1
        }
        guard let indent = block.first(where: { !$0.text.isEmpty })?.indent else { return "" }
        var text = ""
        for (number, line) in block.enumerated() {
            if number > 0 {
                let folds = header.first == ">" && !line.text.isEmpty
                text += folds ? (block[number - 1].text.isEmpty ? "" : " ") : "\n"
            }
            text += String(repeating: " ", count: line.text.isEmpty ? 0 : max(0, line.indent - indent)) + line.text
        }
        if style == "-" { return text }
        return text + String(repeating: "\n", count: style == "+" ? 1 + trailing : 1)
    }

    /// Reads a flow collection, or a scalar in one, at the beginning of `rest`, and removes it from there.
    private func flow(_ rest: inout Substring, depth: Int) throws(BlockYAMLError) -> JSONValue {
        guard depth < Self.maximumDepth else { throw failBefore("nested too deep") }
        rest = rest.drop(while: \.isBlank)
        switch rest.first {
        case "[":
            rest.removeFirst()
            var elements: [JSONValue] = []
            while try !flowEnd("]", &rest, isFirst: elements.isEmpty) {
                elements.append(try flow(&rest, depth: depth + 1))
            }
            return .array(elements)
        case "{":
            rest.removeFirst()
            var members: JSONObject = [:]
            while try !flowEnd("}", &rest, isFirst: members.isEmpty) {
                guard case .string(let key) = try flow(&rest, depth: depth + 1), rest.popFirst() == ":" else {
                    throw failBefore("a flow mapping lacks ':'")
                }
                members[key] = try flow(&rest, depth: depth + 1)
            }
            return .object(members)
        case "\"", "'":
            guard let (value, after) = YAMLScalar.quoted(rest) else { throw failBefore("a quoted scalar does not end") }
            rest = after.drop(while: \.isBlank)
            return .string(value)
        default:
            let plain = rest.prefix { !",[]{}:".contains($0) }
            rest = rest[plain.endIndex...]
            return .string(String(YAMLScalar.trimmed(plain)))
        }
    }

    /// Whether the collection ends here. Removes its end or the comma before its next element from `rest`.
    private func flowEnd(_ end: Character, _ rest: inout Substring, isFirst: Bool) throws(BlockYAMLError) -> Bool {
        rest = rest.drop(while: \.isBlank)
        if !isFirst, rest.first == "," {
            rest = rest.dropFirst().drop(while: \.isBlank)
        } else if !isFirst, rest.first != end {
            throw failBefore("a flow collection does not end on its line")
        }
        guard let first = rest.first else { throw failBefore("a flow collection does not end on its line") }
        if first == end { rest.removeFirst() }
        return first == end
    }
}
