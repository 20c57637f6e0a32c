import JSON

/// The shape of a JSON value, as OpenAPI 3.1 says it (JSON Schema 2020-12, of which only these few words are used).
struct Schema: Sendable {
    let json: JSONValue

    static let string = Schema(json: ["type": "string"])
    static let integer = Schema(json: ["type": "integer"])
    static let boolean = Schema(json: ["type": "boolean"])
    /// RFC 3339, UTC.
    static let time = Schema(json: ["type": "string", "format": "date-time"])
    static let digest = Schema(json: ["type": "string", "pattern": "^sha(256|512):[0-9a-f]+$"])

    static func words(_ words: String...) -> Schema {
        Schema(json: ["type": "string", "enum": .array(words.map { .string($0) })])
    }

    static func list(_ element: Schema) -> Schema { Schema(json: ["type": "array", "items": element.json]) }

    /// An object with any members of one shape.
    static func map(_ value: Schema) -> Schema {
        Schema(json: ["type": "object", "additionalProperties": value.json])
    }

    /// - Parameter optional: members that may be missing; all others never are.
    static func object(_ members: [String: Schema], optional: [String: Schema] = [:]) -> Schema {
        var json: [String: JSONValue] = [
            "type": "object",
            "properties": .object(members.merging(optional) { $1 }.mapValues(\.json)),
        ]
        if !members.isEmpty { json["required"] = .array(members.keys.sorted().map { .string($0) }) }
        return Schema(json: .object(json))
    }

    /// One of `Schema.components`.
    static func named(_ name: String) -> Schema {
        Schema(json: ["$ref": .string("#/components/schemas/\(name)")])
    }

    static func either(_ schemas: Schema...) -> Schema { Schema(json: ["anyOf": .array(schemas.map(\.json))]) }

    var orNull: Schema { .either(self, Schema(json: ["type": "null"])) }
}
