import JSON

extension BlockYAML {
    /// A value that begins on the line before the current one, after its key or dash, with the lines that continue it:
    /// those deeper than `parent`.
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

    /// The next line of a plain scalar.
    private mutating func continuation(_ parent: Int) throws(BlockYAMLError) -> Substring? {
        guard let line = current, !line.isBlank, line.indent > parent else { return nil }
        guard Self.splitKey(line.text) == nil else { throw fail("a mapping inside a plain scalar") }
        position += 1
        return line.text
    }

    /// A literal (`|`) or folded (`>`) block.
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

    /// A flow collection or a scalar in one, at the beginning of `rest`, which is moved behind it.
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
            var members: [String: JSONValue] = [:]
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

    /// Whether the collection ends here; else moves behind the comma that separates its elements.
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
