package import JSON

/// The schema of a JSON value in OpenAPI 3.1 (JSON Schema 2020-12, of which only a few keywords are used).
package struct Schema: Hashable, Sendable {
    package let json: JSONValue
    /// The named schemas that it refers to, directly or indirectly.
    package let components: JSONObject

    init(_ json: JSONValue, components: JSONObject = [:]) {
        self.json = json
        self.components = components
    }

    /// A schema with another schema as the value of the keyword `word`.
    init(_ words: JSONObject, _ word: String, _ inner: Schema) {
        self.init(.object(words.merging([word: inner.json]) { $1 }), components: inner.components)
    }

    static func object(_ model: ModelFields) -> Schema {
        let fields = model.fields
        var json: JSONObject = ["type": "object", "properties": .object(JSONObject(fields.mapValues(\.schema.json)))]
        let required = fields.filter(\.value.isRequired).keys.sorted()
        if !required.isEmpty { json["required"] = .array(required.map { .string($0) }) }
        return Schema(.object(json), components: merged(fields.values.map(\.schema)))
    }

    /// A reference to a schema that is kept under a name.
    static func named(_ name: String, _ schema: Schema) -> Schema {
        Schema(
            ["$ref": .string("#/components/schemas/\(name)")],
            components: schema.components.merging([name: schema.json]) { $1 })
    }

    package static func either(_ schemas: Schema...) -> Schema {
        Schema(["anyOf": .array(schemas.map(\.json))], components: merged(schemas))
    }

    package static func merged(_ schemas: some Sequence<Schema>) -> JSONObject {
        schemas.reduce(into: JSONObject()) { components, schema in components.merge(schema.components) { $1 } }
    }
}
