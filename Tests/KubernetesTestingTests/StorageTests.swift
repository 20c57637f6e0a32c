import JSON
import Testing

@testable import KubernetesTesting

@Suite("The stand-in's JSON patch")
struct JSONPatchTests {
    @Test("a test that fails refuses the whole patch")
    func test() throws {
        let document: JSONValue = ["a": 1, "b": ["x"]]
        let patch = try JSONValue(parsing: #"[{"op":"test","path":"/a","value":2},{"op":"remove","path":"/b"}]"#)
        #expect(throws: JSONPatch.Failure.self) { try JSONPatch.apply(patch, to: document) }
        let good = try JSONValue(parsing: #"[{"op":"test","path":"/a","value":1},{"op":"add","path":"/b/-","value":"y"}]"#)
        #expect(try JSONPatch.apply(good, to: document) == ["a": 1, "b": ["x", "y"]])
    }
}
