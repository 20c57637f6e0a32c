import JSON

/// A Procfile: `TYPE: COMMAND` lines, which the predecessors read as YAML and others line by line. This takes both: one
/// line a process, a command that is one quoted scalar loses its quotes, `|` and `>` blocks and continued (indented)
/// lines work, and what is no process is passed over.
enum Procfile {
    /// The processes in their order; the last one of a type counts.
    static func parse(_ text: String) -> [ProcessCommand] {
        var processes: [ProcessCommand] = []
        var parser = BlockYAML(text)
        while let line = parser.current {
            parser.position += 1
            guard line.indent == 0, !line.isBlank, let (type, rest) = split(line.text) else { continue }
            // Not YAML where a command begins with a flow or an alias (`[ -f x ] && …`) or goes on after a quote.
            let command = (try? BlockYAML.scalarValue(rest, &parser)) ?? String(rest)
            processes.removeAll { $0.type == type }
            if !command.isEmpty { processes.append(ProcessCommand(type: type, command: command)) }
        }
        return processes
    }

    private static func split(_ line: Substring) -> (type: String, rest: Substring)? {
        guard let colon = line.firstIndex(of: ":") else { return nil }
        let type = YAMLScalar.trimmed(line[..<colon])
        guard ProcessCommand.isType(type) else { return nil }
        return (String(type), YAMLScalar.trimmed(line[line.index(after: colon)...]))
    }
}

extension BlockYAML {
    fileprivate static func scalarValue(
        _ text: Substring, _ parser: inout BlockYAML
    ) throws(BlockYAMLError) -> String {
        let position = parser.position
        let value = try parser.value(text, parent: 0, depth: 0)
        guard let scalar = value.string else {
            parser.position = position
            return String(text)
        }
        return YAMLScalar.withoutTrailingNewline(scalar)
    }
}
