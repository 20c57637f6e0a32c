import JSON

/// What is wrong with a JSON value by a schema, of the few words that the server's OpenAPI document uses.
///
/// Stricter than JSON Schema: a member that the schema does not name is wrong, so that the document tells all there is; and
/// so is a word that this does not know.
struct SchemaCheck {
    /// `components.schemas` of the document.
    let components: JSONValue

    func problems(_ value: JSONValue, _ schema: JSONValue, at place: String = "$") -> [String] {
        guard let members = schema.object else { return ["\(place): the schema is no object"] }
        // It takes anything.
        if members.isEmpty { return [] }
        if let name = members["$ref"]?.string?.split(separator: "/").last.map(String.init) {
            guard let named = components[name] else { return ["\(place): there is no schema \(name)"] }
            return problems(value, named, at: place)
        }
        if let schemas = members["anyOf"]?.array {
            let tried = schemas.map { problems(value, $0, at: place) }
            return tried.contains([]) ? [] : tried.min { $0.count < $1.count } ?? []
        }
        let known = ["type", "properties", "required", "items", "additionalProperties", "enum", "pattern", "format"]
        let unknown = members.keys.filter { !known.contains($0) }.map { "\(place): unknown word \($0)" }
        return unknown + typed(value, members, at: place)
    }

    private func typed(_ value: JSONValue, _ schema: JSONObject, at place: String) -> [String] {
        switch (schema["type"]?.string, value) {
        case ("null", .null), ("boolean", .bool): return []
        case ("integer", .number): return value.integer == nil ? ["\(place): no integer"] : []
        case ("string", .string(let text)): return worded(text, schema, at: place)
        case ("array", .array(let elements)):
            return elements.enumerated().flatMap { problems($1, schema["items"] ?? [:], at: "\(place)[\($0)]") }
        case ("object", .object(let members)): return object(members, schema, at: place)
        default: return ["\(place): \(value) is no \(schema["type"]?.string ?? "type")"]
        }
    }

    private func object(
        _ members: JSONObject, _ schema: JSONObject, at place: String
    ) -> [String] {
        let required = (schema["required"]?.array ?? []).compactMap(\.string)
        let missing = required.filter { members[$0] == nil }.map { "\(place): \($0) is missing" }
        return missing
            + members.sorted { $0.key < $1.key }.flatMap { name, value -> [String] in
                guard let own = schema["properties"]?[name] ?? schema["additionalProperties"] else {
                    return ["\(place): \(name) is not in the document (Sources/OperatorModel)"]
                }
                return problems(value, own, at: "\(place).\(name)")
            }
    }

    private func worded(_ text: String, _ schema: JSONObject, at place: String) -> [String] {
        if let words = schema["enum"]?.array, !words.contains(.string(text)) { return ["\(place): \(text)"] }
        if schema["format"]?.string == "date-time",
            text.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/) == nil
        {
            return ["\(place): \(text) is no time"]
        }
        if let pattern = schema["pattern"]?.string {
            guard let regex = try? Regex(pattern), text.firstMatch(of: regex) != nil else {
                return ["\(place): \(text) is not \(pattern)"]
            }
        }
        return []
    }
}
