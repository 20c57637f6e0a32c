package import JSON

/// A value of the operators' API. Its declaration alone defines its JSON, how it is decoded, and its schema.
///
/// A type whose stored properties are models gets all of that from the compiler's `Codable`: a property is a required
/// member of the same name, an optional property a member that may be missing. A `@Nullable` member is always there and
/// may be `null`. The members of an `@Inline` property stand among those of the enclosing object.
package protocol Model: Codable, Hashable, Sendable {
    /// Decodes a value. Members that the type does not know are ignored.
    init(json: JSONValue) throws
    var json: JSONValue { get }
    static var schema: Schema { get }
    /// Any value: to find out a type's members, one is made.
    static var sample: Self { get throws }
}

/// Why JSON is not a valid value of a type.
package struct ModelError: Error, Hashable, CustomStringConvertible {
    /// The path of the invalid value, such as `history[2].at`; empty for the whole value.
    private let path: String
    private let reason: String

    init(_ reason: String, at path: String = "") {
        self.reason = reason
        self.path = path
    }

    package var description: String { path.isEmpty ? reason : "'\(path)' \(reason)" }

    /// The same error with a path that begins one level further out.
    /// - Parameter step: the name or the index in brackets that leads from there to here.
    func below(_ step: String) -> ModelError {
        ModelError(reason, at: path.isEmpty || path.hasPrefix("[") ? step + path : "\(step).\(path)")
    }
}

extension Model {
    package init(json: JSONValue) throws {
        guard let members = json.object else { throw ModelError("is no object") }
        try self.init(from: ModelDecoder(.object(members)))
    }

    package var json: JSONValue {
        let encoder = ModelEncoder()
        do { try encode(to: encoder) } catch { return .null }
        return encoder.json
    }

    package static var schema: Schema {
        // For example `UsageQuota` for `OperatorModel.Usage.Quota`.
        let name = String(reflecting: Self.self).split(separator: ".").dropFirst().joined()
        return .named(name, .object(ModelFields.of(Self.self)))
    }
    package static var sample: Self { get throws { try Self(from: ModelFields()) } }

    /// Decodes a request's body. An unknown member is refused, since the client would expect an effect of it.
    /// - Throws: `ModelError`.
    package init(request json: JSONValue) throws {
        let known = ModelFields.of(Self.self).fields
        if let name = json.object?.keys.sorted().first(where: { known[$0] == nil }) {
            throw ModelError("is not known", at: String(name.prefix(64)))
        }
        try self.init(json: json)
    }
}

/// A model that is not an object. It has to implement all of `Model` itself.
package protocol Leaf: Model {}

extension Leaf {
    package init(from decoder: any Decoder) throws {
        guard let decoder = decoder as? ModelDecoder else { throw ModelError("is read as a model only") }
        try self.init(json: decoder.json)
    }

    package func encode(to encoder: any Encoder) throws {
        guard let encoder = encoder as? ModelEncoder else { throw ModelError("is written as a model only") }
        encoder.leaf = json
    }
}

extension String: Model {
    package init(json: JSONValue) throws {
        guard let text = json.string else { throw ModelError("is no string") }
        self = text
    }
    package var json: JSONValue { .string(self) }
    package static var schema: Schema { Schema(["type": "string"]) }
    package static var sample: String { "" }
}

extension Int64: Model {
    package init(json: JSONValue) throws {
        guard let number = json.integer else { throw ModelError("is no whole number") }
        self = number
    }
    package var json: JSONValue { .integer(self) }
    package static var schema: Schema { Schema(["type": "integer"]) }
    package static var sample: Int64 { 0 }
}

extension Int: Model {
    package init(json: JSONValue) throws { self = Int(try Int64(json: json)) }
    package var json: JSONValue { .integer(self) }
    package static var schema: Schema { Int64.schema }
    package static var sample: Int { 0 }
}

extension Bool: Model {
    package init(json: JSONValue) throws {
        guard let value = json.bool else { throw ModelError("is not true or false") }
        self = value
    }
    package var json: JSONValue { .bool(self) }
    package static var schema: Schema { Schema(["type": "boolean"]) }
    package static var sample: Bool { false }
}

extension Array: Model where Element: Model {
    package init(json: JSONValue) throws {
        guard let elements = json.array else { throw ModelError("is no list") }
        self = try elements.enumerated().map { index, element in
            do { return try Element(json: element) } catch let error as ModelError { throw error.below("[\(index)]") }
        }
    }
    package var json: JSONValue { .array(map { $0.json }) }
    package static var schema: Schema { Schema(["type": "array"], "items", Element.schema) }
    package static var sample: [Element] { [] }
}

/// An object with arbitrary member names and values of one type.
extension Dictionary: Model where Key == String, Value: Model {
    package init(json: JSONValue) throws {
        guard let members = json.object else { throw ModelError("is no object") }
        self = [:]
        for (name, value) in members {
            do { self[name] = try Value(json: value) } catch let error as ModelError { throw error.below(name) }
        }
    }
    package var json: JSONValue { .object(JSONObject(mapValues(\.json))) }
    package static var schema: Schema { Schema(["type": "object"], "additionalProperties", Value.schema) }
    package static var sample: [String: Value] { [:] }
}

/// Any JSON; another member tells its form.
extension JSONValue: Leaf {
    package init(json: JSONValue) { self = json }
    package var json: JSONValue { self }
    package static var schema: Schema { Schema([:]) }
    package static var sample: JSONValue { .null }
}

/// One of a few words.
package protocol Words: Leaf, CaseIterable, RawRepresentable<String> {}

extension Words {
    package init(json: JSONValue) throws {
        guard let word = json.string.flatMap(Self.init(rawValue:)) else {
            throw ModelError("is none of " + Self.allCases.map(\.rawValue).joined(separator: ", "))
        }
        self = word
    }
    package var json: JSONValue { .string(rawValue) }
    package static var schema: Schema {
        Schema(["type": "string", "enum": .array(allCases.map { .string($0.rawValue) })])
    }
    package static var sample: Self {
        get throws {
            guard let word = allCases.first else { throw ModelError("has no words") }
            return word
        }
    }
}

/// A member that is always present and may be `null`.
@propertyWrapper
package struct Nullable<Value: Model>: Leaf {
    package var wrappedValue: Value?

    package init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }
    package init(json: JSONValue) throws { wrappedValue = json == .null ? nil : try Value(json: json) }
    package var json: JSONValue { wrappedValue?.json ?? .null }
    package static var schema: Schema { .either(Value.schema, Schema(["type": "null"])) }
    package static var sample: Nullable { Nullable(wrappedValue: nil) }
}

/// A property whose members stand in the enclosing object, in place of the property.
@propertyWrapper
package struct Inline<Value: Model>: Leaf, Inlined {
    package var wrappedValue: Value

    package init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    package init(json: JSONValue) throws { wrappedValue = try Value(json: json) }
    package var json: JSONValue { wrappedValue.json }
    package static var schema: Schema { Value.schema }
    package static var sample: Inline { get throws { Inline(wrappedValue: try Value.sample) } }
    static var fields: ModelFields { .of(Value.self) }
}

protocol Inlined {
    static var fields: ModelFields { get }
}
