import JSON

/// Encodes a model's properties as an object's members.
final class ModelEncoder: Encoder {
    var members: JSONObject = [:]
    /// What is written if it is no object.
    var leaf: JSONValue?
    var json: JSONValue { leaf ?? .object(members) }
    let codingPath: [any CodingKey] = []
    let userInfo: [CodingUserInfoKey: Any] = [:]

    func container<Key: CodingKey>(keyedBy _: Key.Type) -> KeyedEncodingContainer<Key> {
        KeyedEncodingContainer(Members(encoder: self))
    }
    func unkeyedContainer() -> any UnkeyedEncodingContainer { NoContainer() }
    func singleValueContainer() -> any SingleValueEncodingContainer { NoContainer() }

    private struct Members<Key: CodingKey>: KeyedEncodingContainerProtocol {
        let encoder: ModelEncoder
        let codingPath: [any CodingKey] = []

        func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
            guard let value = value as? any Model else { throw ModelError("is no model", at: key.stringValue) }
            if value is any Inlined {
                encoder.members.merge(value.json.object ?? [:]) { own, _ in own }
            } else {
                encoder.members[key.stringValue] = value.json
            }
        }

        // Most members have one of these types, which need not be found out then.
        func encode(_ value: String, forKey key: Key) { encoder.members[key.stringValue] = value.json }
        func encode(_ value: Bool, forKey key: Key) { encoder.members[key.stringValue] = value.json }
        func encode(_ value: Int, forKey key: Key) { encoder.members[key.stringValue] = value.json }
        func encode(_ value: Int64, forKey key: Key) { encoder.members[key.stringValue] = value.json }

        func encodeNil(forKey key: Key) { encoder.members[key.stringValue] = .null }
        func nestedContainer<Other: CodingKey>(
            keyedBy type: Other.Type, forKey key: Key
        ) -> KeyedEncodingContainer<Other> { encoder.container(keyedBy: type) }
        func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { NoContainer() }
        func superEncoder() -> any Encoder { encoder }
        func superEncoder(forKey key: Key) -> any Encoder { encoder }
    }

    /// Never used by a model whose `Codable` the compiler has made.
    private struct NoContainer: UnkeyedEncodingContainer, SingleValueEncodingContainer {
        let count = 0
        let codingPath: [any CodingKey] = []

        func encode<Value: Encodable>(_ value: Value) throws { throw ModelError("is no object") }
        func encodeNil() throws { throw ModelError("is no object") }
        func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
            ModelEncoder().container(keyedBy: type)
        }
        func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { self }
        func superEncoder() -> any Encoder { ModelEncoder() }
    }
}

/// A source of values for a model's properties.
protocol MemberSource {
    func contains(_ name: String) -> Bool
    func isNull(_ name: String) -> Bool
    func value<Value: Model>(_ name: String) throws -> Value
}

/// Decodes a model's properties from an object's members.
struct ModelDecoder: Decoder, MemberSource {
    let json: JSONValue
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    init(_ json: JSONValue) { self.json = json }

    func container<Key: CodingKey>(keyedBy _: Key.Type) -> KeyedDecodingContainer<Key> {
        KeyedDecodingContainer(Members(source: self))
    }
    func unkeyedContainer() throws -> any UnkeyedDecodingContainer { throw ModelError("is no object") }
    func singleValueContainer() throws -> any SingleValueDecodingContainer { throw ModelError("is no object") }

    func contains(_ name: String) -> Bool { json[name] != nil }
    func isNull(_ name: String) -> Bool { json[name] == .null }

    func value<Value: Model>(_ name: String) throws -> Value {
        if Value.self is any Inlined.Type { return try Value(json: json) }
        guard let member = json[name] else { throw ModelError("is missing", at: name) }
        do { return try Value(json: member) } catch let error as ModelError { throw error.below(name) }
    }
}

/// Finds out a model's members by making a value and recording which members it asks for.
final class ModelFields: Decoder, MemberSource {
    struct Field {
        let schema: Schema
        let isRequired: Bool
    }

    private(set) var fields: [String: Field] = [:]
    /// Members of which the model asked whether they are present.
    private var optional: Set<String> = []
    let codingPath: [any CodingKey] = []
    let userInfo: [CodingUserInfoKey: Any] = [:]

    static func of<Value: Model>(_: Value.Type) -> ModelFields {
        let fields = ModelFields()
        // Every property gets a sample, so decoding can't fail.
        _ = try? Value(from: fields)
        return fields
    }

    func container<Key: CodingKey>(keyedBy _: Key.Type) -> KeyedDecodingContainer<Key> {
        KeyedDecodingContainer(Members(source: self))
    }
    func unkeyedContainer() throws -> any UnkeyedDecodingContainer { throw ModelError("is no object") }
    func singleValueContainer() throws -> any SingleValueDecodingContainer { throw ModelError("is no object") }

    func contains(_ name: String) -> Bool {
        optional.insert(name)
        return true
    }
    func isNull(_ name: String) -> Bool { false }

    func value<Value: Model>(_ name: String) throws -> Value {
        if let inlined = Value.self as? any Inlined.Type {
            fields.merge(inlined.fields.fields) { own, _ in own }
        } else {
            fields[name] = Field(schema: Value.schema, isRequired: !optional.contains(name))
        }
        return try Value.sample
    }
}

private struct Members<Source: MemberSource & Decoder, Key: CodingKey>: KeyedDecodingContainerProtocol {
    let source: Source
    var codingPath: [any CodingKey] { [] }
    var allKeys: [Key] { [] }

    func contains(_ key: Key) -> Bool { source.contains(key.stringValue) }
    func decodeNil(forKey key: Key) -> Bool { source.isNull(key.stringValue) }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        guard let model = type as? any Model.Type, let value = try value(model, key) as? Value else {
            throw ModelError("is no model", at: key.stringValue)
        }
        return value
    }

    private func value<Value: Model>(_: Value.Type, _ key: Key) throws -> Value {
        try source.value(key.stringValue)
    }

    func nestedContainer<Other: CodingKey>(
        keyedBy type: Other.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Other> { throw ModelError("is no model", at: key.stringValue) }
    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        throw ModelError("is no model", at: key.stringValue)
    }
    func superDecoder() -> any Decoder { source }
    func superDecoder(forKey key: Key) -> any Decoder { source }
}
