import JSON
import Testing

@Suite("Reading JSON")
struct JSONParserTests {
    @Test(
        "A document of RFC 8259 is its value",
        arguments: [
            ("null", .null), ("true", true), ("false", false), (#""""#, ""), (#""a""#, "a"), ("[]", []), ("{}", [:]),
            (" \t\r\n1 \t\r\n", 1), ("[1,2]", [1, 2]), ("[ 1 , [ ] ]", [1, []]),
            (#"{"a":1,"b":{"c":[null]}}"#, ["a": 1, "b": ["c": [.null]]]), (#"{ "a" : 1 }"#, ["a": 1]),
            (#"{"":0}"#, ["": 0]), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"),
            (#""\u0041\u00e9\u20AC""#, "Aé€"), (#""\ud83d\ude00""#, "😀"), (#""😀\u007f""#, "😀\u{7F}"),
            (#""\u0000""#, "\0"), (#""\uFFFD\uFEFF""#, "\u{FFFD}\u{FEFF}"), (#"{"\u0061":1}"#, ["a": 1]),
        ] as [(String, JSONValue)])
    func valid(text: String, value: JSONValue) throws {
        #expect(try JSONValue(parsing: text) == value)
    }

    @Test(
        "What is no document of RFC 8259 is refused at its byte",
        arguments: [
            ("", 0), ("  ", 2), ("nul", 0), ("nulll", 4), ("True", 0), ("'a'", 0), ("1 2", 2), ("[1,]", 3), ("[1", 2),
            ("[,1]", 1), ("[1 2]", 3), ("]", 0), ("{", 1), ("{a:1}", 1), (#"{"a"}"#, 4), (#"{"a":}"#, 5),
            (#"{"a":1,}"#, 7), (#"{"a":1 "b":2}"#, 7), (#"{1:2}"#, 1), ("01", 1), ("-", 1), ("+1", 0), (".5", 0),
            ("1.", 2), ("1e", 2), ("1e+", 3), ("1.e1", 2), ("-a", 1), ("0x1", 1), ("NaN", 0), ("Infinity", 0),
            ("-Infinity", 1), (#"""#, 1), (#""a"#, 2), (#""\"#, 2), (#""\x""#, 3), (#""\u12""#, 5),
            (#""\u12g4""#, 5), (#""\u+123""#, 3), ("\"\n\"", 1), ("\"\t\"", 1), ("\"\0\"", 1), ("1//", 1),
            ("\u{FEFF}1", 0), ("/**/1", 0), ("[1}", 2), (#"{"a":1]"#, 6), ("\u{A0}1", 0),
        ])
    func invalid(text: String, offset: Int) throws {
        let error = try #require(throws: JSONError.self) { try JSONValue(parsing: text) }
        #expect(error.offset == offset)
        #expect("\(error)" == "not valid JSON: \(error.message) at byte \(offset)")
    }

    @Test(
        "A lone or reversed surrogate is refused",
        arguments: [
            #""\ud800""#, #""\udc00""#, #""\ud800\ud800""#, #""\udc00\ud800""#, #""\ud800x""#, #""\ud800\n""#,
            #""\ud800\u0041""#, #"{"\ud800":1}"#,
        ])
    func surrogates(text: String) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
    }

    @Test(
        "Bytes that are not UTF-8 are refused, in strings, names and elsewhere",
        arguments: [
            [0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
            [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], [0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D], [0xFF],
            [0x22, 0xE2, 0x82], [0x31, 0x00],
        ] as [[UInt8]])
    func encoding(bytes: [UInt8]) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: bytes) }
    }

    @Test(
        "An object with the same member twice is refused, however the name is written",
        arguments: [#"{"a":1,"a":1}"#, #"{"a":1,"b":2,"\u0061":3}"#, #"[{"x":{"a":1,"a":2}}]"#, #"{"":1,"":2}"#])
    func duplicates(text: String) throws {
        let error = try #require(throws: JSONError.self) { try JSONValue(parsing: text) }
        #expect(error.message.hasSuffix("appears twice"))
    }

    @Test(
        "Names and strings are told apart by their bytes, whatever they look like",
        arguments: [("\u{E9}", "e\u{301}"), ("K", "\u{212A}"), (";", "\u{37E}"), ("\u{1100}\u{1161}", "\u{AC00}")])
    func spellings(one: String, other: String) throws {
        #expect(one == other, "Swift takes them for equal")
        let value = try JSONValue(parsing: "{\"\(one)\":1,\"\(other)\":2}")
        #expect(value[one] == 1 && value[other] == 2 && value.object?.count == 2)
        #expect(try JSONValue(parsing: value.canonicalBytes) == value)
        #expect(JSONValue.string(one) != .string(other))
        #expect(Set([JSONValue.object([one: 1]), .object([other: 1])]).count == 2)
        #expect(throws: JSONError.self) { try JSONValue(parsing: "{\"\(other)\":1,\"\(other)\":2}") }
        var members: JSONObject = [one: 1, other: 2]
        #expect(members.removeValue(forKey: other) == 2 && members[one] == 1)
    }

    @Test("A string keeps its bytes, composed or not", arguments: ["\"\u{E9}\"", "\"e\u{301}\""])
    func composition(text: String) throws {
        #expect(try JSONValue(parsing: text).canonicalBytes == Array(text.utf8))
    }

    @Test(
        "A number keeps its text",
        arguments: [
            "0", "-0", "1", "-1", "1.0", "1.10", "1e9", "1E9", "1e+9", "1E-9", "0.5", "-0.0", "12345678901234567890123",
            "1e999999", "0e0", "9223372036854775808",
        ])
    func numbers(text: String) throws {
        let value = try JSONValue(parsing: text)
        #expect(value == .number(text))
        #expect(value.canonicalText == text)
    }

    @Test(
        "A whole number that fits 64 bits is an integer, anything else is not",
        arguments: [
            ("0", 0), ("-0", 0), ("42", 42), ("-1", -1), ("9223372036854775807", .max), ("-9223372036854775808", .min),
            ("9223372036854775808", nil), ("1.0", nil), ("1e2", nil), (#""1""#, nil), ("true", nil), ("null", nil),
        ] as [(String, Int64?)])
    func integers(text: String, integer: Int64?) throws {
        #expect(try JSONValue(parsing: text).integer == integer)
    }

    @Test("Depth is bounded: the limit itself is read, one more is refused", arguments: [1, 2, 64, 200])
    func depth(limit: Int) throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        let objects = String(repeating: #"{"a":"#, count: limit) + "1" + String(repeating: "}", count: limit)
        #expect(throws: Never.self) { try JSONValue(parsing: nested(limit), maximumDepth: limit) }
        #expect(throws: Never.self) { try JSONValue(parsing: objects, maximumDepth: limit) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: nested(limit + 1), maximumDepth: limit) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: "[" + objects + "]", maximumDepth: limit) }
    }

    @Test("Depth counts what is open, not what was", arguments: [2])
    func depthOfSiblings(limit: Int) throws {
        let value = try JSONValue(
            parsing: "[" + Array(repeating: "[]", count: 1000).joined(separator: ",") + "]", maximumDepth: limit)
        #expect(value.array?.count == 1000)
    }

    @Test("A scalar needs no depth, a collection needs one")
    func noDepth() throws {
        #expect(try JSONValue(parsing: "1", maximumDepth: 0) == 1)
        #expect(throws: JSONError.self) { try JSONValue(parsing: "[]", maximumDepth: 0) }
    }

    @Test("A million opening brackets are an error, not a crash")
    func bomb() {
        #expect(throws: JSONError.self) { try JSONValue(parsing: repeatElement(UInt8(ascii: "["), count: 1_000_000)) }
        let objects = repeatElement(#"{"a":"#, count: 200_000).joined()
        #expect(throws: JSONError.self) { try JSONValue(parsing: objects) }
    }

    @Test("Members and kinds are asked for without surprises")
    func accessors() throws {
        let value = try JSONValue(parsing: #"{"s":"x","b":true,"a":[1],"o":{"k":null},"n":2}"#)
        #expect(value["s"]?.string == "x")
        #expect(value["b"]?.bool == true)
        #expect(value["a"]?.array == [1])
        #expect(value["o"]?["k"] == .null)
        #expect(value["n"]?.integer == 2)
        #expect(value["missing"] == nil)
        #expect(value["s"]?["x"] == nil)
        #expect(value["n"]?.string == nil && value["s"]?.bool == nil && value["s"]?.array == nil)
        #expect(value["a"]?.object == nil)
    }
}
