package import Yams

extension YamlError {
    /// What is wrong and in which line (0: in none), without any of the text, except for a key that appears twice.
    package var fault: (line: Int, reason: String) {
        switch self {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            (mark.line, problem)
        case .duplicatedKeysInMapping(let keys, let context):
            (context.mark.line, "'\(keys.first ?? "")' appears twice")
        case .reader(let problem, _, _, _): (0, problem)
        default: (0, "it is no YAML")
        }
    }
}
