import JSON
import Yams

/// A YAML document as the JSON value that it stands for.
enum YAMLDocument {
    /// Anchors make a short text stand for a large value, so the value is bounded as well.
    private static let maximumNodes = 100_000
    private static let maximumDepth = 32

    /// - Parameter file: for errors, which say the line, and nothing of the text.
    static func parse(_ bytes: [UInt8], file: String) throws(KubernetesError) -> JSONValue {
        guard let text = String(validating: bytes.withoutByteOrderMark, as: UTF8.self) else {
            throw .configuration("\(file): it is not UTF-8")
        }
        do {
            let parser = try Parser(yaml: text, resolver: .default, constructor: .default, encoding: .utf8)
            // The nodes find their anchors in the parser, so it must live while they are read.
            return try withExtendedLifetime(parser) {
                guard let root = try parser.singleRoot() else { return .null }
                var left = maximumNodes
                guard let value = value(root, depth: 0, left: &left) else {
                    throw KubernetesError.configuration("\(file): it is too large or nested too deep")
                }
                return value
            }
        } catch let error as KubernetesError {
            throw error
        } catch {
            let problem: String =
                switch error as? YamlError {
                case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
                    .composer(_, let problem, let mark, _):
                    "line \(mark.line): \(problem)"
                case .duplicatedKeysInMapping(_, let context): "line \(context.mark.line): a key appears twice"
                default: "it is no YAML"
                }
            throw .configuration("\(file): \(problem)")
        }
    }

    private static func value(_ node: Node, depth: Int, left: inout Int) -> JSONValue? {
        left -= 1
        guard left > 0, depth < maximumDepth else { return nil }
        switch node {
        case .scalar(let scalar):
            guard scalar.style == .plain else { return .string(scalar.string) }
            if node.null != nil { return .null }
            if let bool = node.bool { return .bool(bool) }
            // A number keeps its text, whatever it looks like; what JSON has no form for is a string.
            if let number = try? JSONValue(parsing: scalar.string), case .number = number { return number }
            return .string(scalar.string)
        case .sequence(let sequence):
            var elements: [JSONValue] = []
            for item in sequence {
                guard let element = value(item, depth: depth + 1, left: &left) else { return nil }
                elements.append(element)
            }
            return .array(elements)
        case .mapping(let mapping):
            var members: JSONObject = [:]
            for (key, item) in mapping {
                guard let value = value(item, depth: depth + 1, left: &left) else { return nil }
                if case .scalar(let name) = key { members[name.string] = value }
            }
            return .object(members)
        case .alias: return nil
        }
    }
}

extension JSONValue {
    /// A string, or a scalar that its writer forgot to quote.
    var yamlText: String? {
        switch self {
        case .string(let text), .number(let text): text
        default: nil
        }
    }
}
