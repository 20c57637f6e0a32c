import JSON
import Testing

@testable import Launcher

@Suite("The YAML of lifecycle files")
struct BlockYAMLTests {
    @Test(
        "A document is read as YAML defines it",
        arguments: [
            ("a: b", #"{"a":"b"}"#),
            ("---\na: b\n", #"{"a":"b"}"#),
            ("--- # first\n# comment\n\na: b # comment\n", #"{"a":"b"}"#),
            ("a:\n  b:\n    c: d\n  e: f\n", #"{"a":{"b":{"c":"d"},"e":"f"}}"#),
            ("a:\n- x\n- y\nb: z", #"{"a":["x","y"],"b":"z"}"#),
            ("a:\n  - x\n  -   y: 1\n      z: 2\n  - - p\n    - q\n", #"{"a":["x",{"y":"1","z":"2"},["p","q"]]}"#),
            ("-\n  a: 1\n-\n  b: 2", #"[{"a":"1"},{"b":"2"}]"#),
            ("a: [x, 'y z', \"w\", {k: v}, []]", #"{"a":["x","y z","w",{"k":"v"},[]]}"#),
            ("a: { b: c, d: [ e ] } # x", #"{"a":{"b":"c","d":["e"]}}"#),
            ("a: [x, ]", #"{"a":["x"]}"#),
            (#"a: "x\ty\u00e9\x41\U0001F600\"" # c"#, #"{"a":"x\ty\u00e9A\ud83d\ude00\""}"#),
            ("a: 'it''s'", #"{"a":"it's"}"#),
            ("\"a b\": c\n'd': e", #"{"a b":"c","d":"e"}"#),
            ("a: http://x:80/y", #"{"a":"http://x:80/y"}"#),
            ("a:", #"{"a":""}"#),
            ("a: one\n  two\n  three\nb: c", #"{"a":"one two three","b":"c"}"#),
            ("a: |\n  one\n   two\n\n  three\nb: c", #"{"a":"one\n two\n\nthree\n","b":"c"}"#),
            ("a: |-\n  # kept\n  x\n", ##"{"a":"# kept\nx"}"##),
            ("a: |+\n  x\n\n", #"{"a":"x\n\n\n"}"#),
            ("a: >\n  one\n  two\n\n  three\n", #"{"a":"one two\nthree\n"}"#),
            ("a: x#y", ##"{"a":"x#y"}"##),
            ("a: 'x # y'", ##"{"a":"x # y"}"##),
            ("a: b\r\nc: d\r\n", #"{"a":"b","c":"d"}"#),
            ("just text", #""just text""#),
            ("", #""""#),
        ])
    func document(text: String, json: String) throws {
        #expect(try BlockYAML.parse(text) == JSONValue(parsing: json))
    }

    @Test(
        "What is beyond it is an error on its line",
        arguments: [
            ("a: &x b", 1), ("a: *x", 1), ("a: !!str b", 1), ("a: b\na: c", 2), ("a: b\n c: d", 2), ("a: 'b", 1),
            ("a: [b", 1), ("a: [b] c", 1), ("a: {b}", 1), ("a: 'b' c", 1), ("a: |2\n  b", 1), ("a: b\n---\nc: d", 2),
            ("a:\n  - x\n - y", 3), ("b\na: c", 2), ("a: b\nc", 2),
        ])
    func beyond(text: String, line: Int) {
        let error = #expect(throws: BlockYAMLError.self) { try BlockYAML.parse(text) }
        #expect(error?.line == line)
    }

    @Test("Depth is bounded", arguments: ["- ", "["])
    func depth(opening: String) {
        #expect(throws: BlockYAMLError.self) { try BlockYAML.parse(String(repeating: opening, count: 10_000) + "x") }
    }

    @Test("No beginning of a document, and no byte changed in it, hurts")
    func mutations() {
        let document = """
            processes:
            - type: "web"
              command: 'a: b' # c
              platforms: {cloudfoundry: {sidecar_for: [ "web" ]}}
              more: |
                x
            """
        for end in document.indices { _ = try? BlockYAML.parse(String(document[..<end])) }
        for index in document.indices {
            for character in "\"'[]{}:#-|>& \n\t" {
                var changed = document
                changed.replaceSubrange(index...index, with: String(character))
                _ = try? BlockYAML.parse(changed)
                _ = Procfile.parse(changed)
            }
        }
    }
}
