import CLibYAML
import JSON

/// A YAML document as libyaml reads it: YAML 1.1, aliases resolved, tags ignored.
indirect enum YAMLNode: Hashable {
    /// - isPlain: without quotes; such a scalar may be a number, a boolean or null.
    case scalar(String, isPlain: Bool)
    case sequence([YAMLNode])
    /// In the document's order. Where a key appears twice, the last one counts, in the first one's place.
    case mapping([Pair])

    struct Pair: Hashable {
        let key: String
        var value: YAMLNode
    }

    /// The value of a key in a mapping; nil for anything else, and where the value is null.
    subscript(_ key: String) -> YAMLNode? {
        guard case .mapping(let pairs) = self, let value = pairs.first(where: { $0.key == key })?.value else {
            return nil
        }
        return value.isNull ? nil : value
    }

    /// A scalar's own text, whatever it would be resolved to: `1.10` stays `1.10`.
    var text: String? { if case .scalar(let text, _) = self { text } else { nil } }
    var pairs: [Pair]? { if case .mapping(let pairs) = self { pairs } else { nil } }
    var elements: [YAMLNode]? { if case .sequence(let elements) = self { elements } else { nil } }

    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = self else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// The value in JSON: plain scalars are resolved by YAML's core schema, all others are strings.
    var json: JSONValue {
        switch self {
        case .sequence(let elements): return .array(elements.map(\.json))
        case .mapping(let pairs):
            return .object(JSONObject(pairs.map { ($0.key, $0.value.json) }, uniquingKeysWith: { _, last in last }))
        case .scalar(let text, let isPlain):
            guard isPlain else { return .string(text) }
            if isNull { return .null }
            if ["true", "True", "TRUE"].contains(text) { return true }
            if ["false", "False", "FALSE"].contains(text) { return false }
            if let number = Int64(text) { return .integer(number) }
            // What is a number in JSON is one here; a version such as 1.2.3 is none.
            if case .number(let number)? = try? JSONValue(parsing: text) { return .number(number) }
            return .string(text)
        }
    }
}

/// Why a text is no YAML that is read here.
struct YAMLError: Error, Hashable, CustomStringConvertible {
    let message: String
    /// Counted from 1; 0 where there is none.
    let line: Int
    var description: String { line == 0 ? message : "\(message) in line \(line)" }
}

/// Composes the first document of a text. Its memory is bounded: nodes that an alias repeats count each time.
struct YAMLReader {
    static let maximumNodes = 100_000
    static let maximumDepth = 64

    private var parser: UnsafeMutablePointer<yaml_parser_t>
    private var nodes = 0
    private var anchors: ByName<(node: YAMLNode, nodes: Int)> = [:]

    /// - Parameter bytes: UTF-8 or UTF-16; the caller bounds their number.
    /// - Returns: an empty mapping for a text without a document.
    /// - Throws: for what is not YAML, for keys that are no scalars, and past the limits.
    static func parse(_ bytes: [UInt8]) throws(YAMLError) -> YAMLNode {
        let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
        defer { parser.deallocate() }
        guard yaml_parser_initialize(parser) == 1 else { throw YAMLError(message: "no memory", line: 0) }
        defer { yaml_parser_delete(parser) }
        // The parser keeps the pointer until it is deleted.
        let input = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, bytes.count))
        defer { input.deallocate() }
        _ = input.update(fromContentsOf: bytes)
        yaml_parser_set_input_string(parser, input.baseAddress, bytes.count)
        var reader = YAMLReader(parser: parser)
        return try reader.document()
    }

    private init(parser: UnsafeMutablePointer<yaml_parser_t>) { self.parser = parser }

    private enum Event {
        case alias(String)
        case scalar(String, isPlain: Bool, anchor: String?)
        case sequence(anchor: String?)
        case mapping(anchor: String?)
        /// The end of a collection.
        case end
        case streamEnd
        /// The beginning of the stream, or the beginning or the end of a document.
        case mark
    }

    private mutating func next() throws(YAMLError) -> Event {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else {
            let problem = parser.pointee.problem.map { String(cString: $0) } ?? "not readable"
            throw YAMLError(message: problem, line: Int(parser.pointee.problem_mark.line) + 1)
        }
        defer { yaml_event_delete(&event) }
        switch event.type {
        case YAML_ALIAS_EVENT: return .alias(Self.text(event.data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let value = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            return .scalar(
                String(decoding: value, as: UTF8.self), isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE,
                anchor: Self.text(scalar.anchor))
        case YAML_SEQUENCE_START_EVENT: return .sequence(anchor: Self.text(event.data.sequence_start.anchor))
        case YAML_MAPPING_START_EVENT: return .mapping(anchor: Self.text(event.data.mapping_start.anchor))
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return .end
        case YAML_STREAM_END_EVENT: return .streamEnd
        default: return .mark
        }
    }

    private static func text(_ bytes: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        bytes.map { String(cString: UnsafePointer($0)) }
    }

    private func fail(_ message: String) -> YAMLError {
        YAMLError(message: message, line: Int(parser.pointee.mark.line) + 1)
    }

    private mutating func document() throws(YAMLError) -> YAMLNode {
        while true {
            let event = try next()
            switch event {
            case .mark: continue
            case .streamEnd: return .mapping([])
            default:
                guard let node = try node(event, depth: 0) else { return .mapping([]) }
                // What follows the document has to be readable, too.
                if case .mark = try next() { return node }
                throw fail("something follows the document")
            }
        }
    }

    /// - Returns: nil for the end of a collection.
    private mutating func node(_ event: Event, depth: Int) throws(YAMLError) -> YAMLNode? {
        guard depth < Self.maximumDepth else { throw fail("nested too deep") }
        let before = nodes
        try count(1)
        let node: YAMLNode
        let name: String?
        switch event {
        case .end: return nil
        case .alias(let anchor):
            guard let (node, nodes) = anchors[anchor] else { throw fail("an alias without an anchor") }
            try count(nodes)
            return node
        case .scalar(let text, let isPlain, let anchor): (node, name) = (.scalar(text, isPlain: isPlain), anchor)
        case .sequence(let anchor):
            var elements: [YAMLNode] = []
            while let element = try self.node(next(), depth: depth + 1) { elements.append(element) }
            (node, name) = (.sequence(elements), anchor)
        case .mapping(let anchor): (node, name) = (try mapping(depth), anchor)
        case .mark, .streamEnd: throw fail("the document is not complete")
        }
        if let name { anchors[name] = (node, nodes - before) }
        return node
    }

    private mutating func mapping(_ depth: Int) throws(YAMLError) -> YAMLNode {
        var pairs: [YAMLNode.Pair] = []
        var places: ByName<Int> = [:]
        var merged: [YAMLNode.Pair] = []
        while let key = try node(next(), depth: depth + 1) {
            guard let name = key.text else { throw fail("a key that is no text") }
            guard let value = try node(next(), depth: depth + 1) else { throw fail("a key without a value") }
            if key == .scalar("<<", isPlain: true) {
                merged += (value.elements ?? [value]).flatMap { $0.pairs ?? [] }
            } else if let place = places[name] {
                pairs[place].value = value
            } else {
                places[name] = pairs.count
                pairs.append(YAMLNode.Pair(key: name, value: value))
            }
        }
        for pair in merged where places[pair.key] == nil {
            places[pair.key] = pairs.count
            pairs.append(pair)
        }
        return .mapping(pairs)
    }

    private mutating func count(_ more: Int) throws(YAMLError) {
        nodes += more
        guard nodes <= Self.maximumNodes else { throw fail("too many values") }
    }
}
