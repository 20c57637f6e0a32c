import JSON
import Testing

@testable import KubernetesTesting

@Suite("Match conditions in the stand-in")
struct CELTests {
    private let object: JSONValue = [
        "metadata": ["annotations": ["a/b": "1"]],
        "spec": ["containers": [["image": "registry.test/x:1"], ["image": "other/y"]]],
    ]

    @Test(
        "expressions of the kind that webhooks' conditions have",
        arguments: [
            ("object.spec.containers.exists(c, c.image.startsWith('registry.test/'))", true),
            ("object.spec.containers.all(c, c.image.startsWith('registry.test/'))", false),
            ("has(object.spec.initContainers) && object.spec.initContainers.exists(c, c.image == 'z')", false),
            ("!has(object.metadata.labels) || object.metadata.labels['x'] == 'y'", true),
            ("'a/b' in object.metadata.annotations && object.metadata.annotations['a/b'] == \"1\"", true),
            (
                "(object.spec.containers + object.spec.?initContainers.orValue([])).exists(c, c.image.contains('other'))",
                true
            ),
            ("size(object.spec.containers) == 2 ? true : false", true),
            ("object.metadata.?labels.?x.orValue('none') == 'none'", true),
        ])
    func holds(_ text: String, _ expected: Bool) throws {
        #expect(try CEL.isTrue(text, ["object": .json(object)]) == expected)
    }

    @Test(
        "a member that is not there is an error, unless the rest settles it",
        arguments: ["object.spec.nothing == 1", "object.spec.containers.exists(c, c.name == 'x')"])
    func fails(_ text: String) {
        #expect(throws: CEL.Failure.self) { try CEL.isTrue(text, ["object": .json(object)]) }
    }
}
