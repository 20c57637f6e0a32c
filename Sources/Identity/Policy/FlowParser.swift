import JSON

/// Reads `[a, b]` and `{a: b}` on one line.
struct FlowParser {
    var rest: Substring
    let line: Int

    init(rest: Substring, line: Int) {
        self.rest = rest
        self.line = line
    }

    /// All of it, with nothing behind.
    mutating func whole() throws(PlainYAML.Fault) -> JSONValue {
        let value = try value(depth: 0)
        skipSpaces()
        guard rest.isEmpty else { throw fault("something stands behind the closing bracket") }
        return value
    }

    private mutating func value(depth: Int) throws(PlainYAML.Fault) -> JSONValue {
        guard depth < PlainYAML.maximumDepth else { throw fault("nested too deep") }
        skipSpaces()
        switch rest.first {
        case "[": return try list(depth: depth)
        case "{": return try mapping(depth: depth)
        default: return .string(try scalar(isKey: false))
        }
    }

    private mutating func list(depth: Int) throws(PlainYAML.Fault) -> JSONValue {
        rest.removeFirst()
        var items: [JSONValue] = []
        if ends(with: "]") { return .array(items) }
        repeat { items.append(try value(depth: depth + 1)) } while try goesOn(until: "]")
        return .array(items)
    }

    private mutating func mapping(depth: Int) throws(PlainYAML.Fault) -> JSONValue {
        rest.removeFirst()
        var members: [String: JSONValue] = [:]
        if ends(with: "}") { return .object(members) }
        repeat {
            skipSpaces()
            let key = try scalar(isKey: true)
            skipSpaces()
            guard rest.popFirst() == ":" else { throw fault("it is not KEY: VALUE") }
            guard members.updateValue(try value(depth: depth + 1), forKey: key) == nil else {
                throw fault("'\(key)' appears twice")
            }
        } while try goesOn(until: "}")
        return .object(members)
    }

    /// A quoted string up to its quote; a plain one up to what can't be in it.
    private mutating func scalar(isKey: Bool) throws(PlainYAML.Fault) -> String {
        var end = rest.startIndex
        if let quote = rest.first, quote == "\"" || quote == "'" {
            repeat {
                if rest[end] == "\\", quote == "\"" { rest.formIndex(after: &end) }
                if end < rest.endIndex { rest.formIndex(after: &end) }
                guard end < rest.endIndex else { throw fault("a quoted string does not end") }
            } while rest[end] != quote
            rest.formIndex(after: &end)
        } else {
            end = rest.firstIndex { ",[]{}".contains($0) || (isKey && $0 == ":") } ?? rest.endIndex
        }
        let text = PlainYAML.trim(rest[..<end])
        rest = rest[end...]
        return try PlainYAML.scalar(text, line: line)
    }

    private mutating func ends(with bracket: Character) -> Bool {
        skipSpaces()
        guard rest.first == bracket else { return false }
        rest.removeFirst()
        return true
    }

    /// Whether a comma came, and not the bracket.
    private mutating func goesOn(until bracket: Character) throws(PlainYAML.Fault) -> Bool {
        if ends(with: bracket) { return false }
        guard rest.popFirst() == "," else { throw fault("'\(bracket)' is missing") }
        return true
    }

    private mutating func skipSpaces() { rest = rest.drop { $0 == " " } }

    private func fault(_ reason: String) -> PlainYAML.Fault { PlainYAML.Fault(line: line, reason: reason) }
}
