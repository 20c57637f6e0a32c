import JSON
import OCI
import OperatorModel
import Testing

@Suite("Models of the operators' API")
struct ModelTests {
    /// A model with a member of each kind.
    private struct Thing: Model {
        enum Colour: String, Words {
            case red, green
        }
        struct Part: Model {
            let name: String
            @Nullable var weight: Int64?
        }
        struct Frame: Model {
            let width: Int
        }

        let name: String
        let colour: Colour
        let done: Bool
        let parts: [Part]
        let counts: [String: Int]
        let note: String?
        let digest: Digest?
        @Nullable var at: Time?
        @Inline var frame: Frame
        let any: JSONValue
    }

    private static let full: JSONValue = [
        "name": "a", "colour": "green", "done": true, "counts": ["x": 1], "note": "n",
        "parts": [["name": "p", "weight": 5], ["name": "q", "weight": .null]],
        "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "at": "2026-01-01T00:00:00Z", "width": 3, "any": [1, "two"],
    ]
    private static let least: JSONValue = [
        "name": "", "colour": "red", "done": false, "counts": [:], "parts": [], "at": .null, "width": 0, "any": .null,
    ]

    @Test("What is read is written again as it was", arguments: [full, least])
    func roundTrip(_ json: JSONValue) throws {
        let thing = try Thing(json: json)
        #expect(thing.json == json)
        #expect(try Thing(json: thing.json) == thing)
    }

    @Test("Members have the values that stand there")
    func values() throws {
        let thing = try Thing(json: Self.full)
        #expect(thing.name == "a" && thing.colour == .green && thing.done && thing.counts == ["x": 1])
        #expect(thing.parts.map(\.weight) == [5, nil] && thing.frame.width == 3 && thing.note == "n")
        #expect(thing.at?.description == "2026-01-01T00:00:00Z" && thing.any == [1, "two"])
        let least = try Thing(json: Self.least)
        #expect(least.note == nil && least.digest == nil && least.at == nil)
    }

    @Test("The schema says what is read, no more and no less")
    func schema() throws {
        let name = "ThingPart"
        let schema = Thing.schema
        #expect(schema.json["$ref"]?.string?.hasSuffix("Thing") == true)
        let thing = try #require(schema.components.first { $0.key.hasSuffix("Thing") }?.value)
        let required = thing["required"]?.array?.compactMap(\.string)
        #expect(required == ["any", "at", "colour", "counts", "done", "name", "parts", "width"])
        let properties = try #require(thing["properties"]?.object)
        #expect(Set(properties.keys) == Set(required ?? []).union(["note", "digest"]))
        #expect(properties["colour"] == ["type": "string", "enum": ["red", "green"]])
        #expect(properties["at"] == ["anyOf": [["type": "string", "format": "date-time"], ["type": "null"]]])
        #expect(properties["width"] == ["type": "integer"] && properties["any"] == [:])
        #expect(properties["counts"] == ["type": "object", "additionalProperties": ["type": "integer"]])
        #expect(properties["parts"]?["items"]?["$ref"]?.string?.hasSuffix(name) == true)
        #expect(schema.components.contains { $0.key.hasSuffix(name) })
        #expect(!schema.components.contains { $0.key.hasSuffix("Frame") }, "its members stand in the thing's own")
    }

    @Test(
        "What is wrong is said with its place",
        arguments: [
            ("name", nil, "'name' is missing"), ("name", 1, "'name' is no string"),
            ("colour", "blue", "'colour' is none of red, green"), ("done", "yes", "'done' is not true or false"),
            ("width", .number("1.5"), "'width' is no whole number"), ("parts", "x", "'parts' is no list"),
            (
                "parts", [["name": "p", "weight": 1], ["name": "p", "weight": "x"]],
                "'parts[1].weight' is no whole number"
            ),
            ("parts", [["name": "p"]], "'parts[0].weight' is missing"),
            ("counts", ["x": "y"], "'counts.x' is no whole number"),
            ("digest", "md5:0", "'digest' is no digest"), ("at", nil, "'at' is missing"),
        ] as [(String, JSONValue?, String)])
    func wrong(_ member: String, _ value: JSONValue?, _ message: String) throws {
        var members = try #require(Self.full.object)
        members[member] = value
        let error = #expect(throws: ModelError.self) { try Thing(json: .object(members)) }
        #expect(error?.description == message)
    }

    @Test("An answer's unknown members are passed over, a request's are refused")
    func unknown() throws {
        var members = try #require(Self.full.object)
        members["expects"] = "x"
        #expect(try Thing(json: .object(members)) == Thing(json: Self.full))
        let error = #expect(throws: ModelError.self) { try Thing(request: .object(members)) }
        #expect(error?.description == "'expects' is not known")
        #expect(try Thing(request: Self.full) == Thing(json: Self.full))
        #expect(throws: ModelError.self) { try Thing(request: []) }
    }
}
