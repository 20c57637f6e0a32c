import JSON
import Testing

@Suite("Writing JSON")
struct JSONWriterTests {
    @Test(
        "The canonical form is these bytes",
        arguments: [
            (.null, "null"), (true, "true"), (false, "false"), ([], "[]"), ([:], "{}"), (-7, "-7"),
            (.number("1.50e+2"), "1.50e+2"), ([1, "a", [.null]], #"[1,"a",[null]]"#),
            (["b": 1, "a": ["d": 2, "c": 3]], #"{"a":{"c":3,"d":2},"b":1}"#),
            ("\"\\/", #""\"\\/""#), ("\u{8}\u{C}\n\r\t", #""\b\f\n\r\t""#),
            ("\0\u{1}\u{1F}\u{7F}", "\"\\u0000\\u0001\\u001f\u{7F}\""), ("é€😀\u{2028}", "\"é€😀\u{2028}\""),
            ("</script>&", #""</script>&""#),
        ] as [(JSONValue, String)])
    func canonical(value: JSONValue, text: String) {
        #expect(value.canonicalText == text)
        #expect(value.canonicalBytes == Array(text.utf8))
    }

    @Test("Members stand in the byte order of their names, which is not that of UTF-16 or of a locale")
    func order() {
        let value: JSONValue = [
            "b": 0, "a": 0, "B": 0, "aa": 0, "": 0, "é": 0, "\u{FF01}": 0, "😀": 0, "a\0": 0, "_": 0,
        ]
        let names = ["", "B", "_", "a", "a\0", "aa", "b", "é", "\u{FF01}", "😀"]
        let members = names.map { JSONValue.string($0).canonicalText + ":0" }
        #expect(value.canonicalText == "{" + members.joined(separator: ",") + "}")
    }

    @Test("A whole document has these bytes")
    func golden() throws {
        let text = """
            { "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
              "layers": [ { "size": 32654, "digest": "sha256:abc", "annotations": {} }, {} ],
              "config": { "digest": "sha256:\\u0064ef", "size": 7 }, "x": [ ], "y": "\\u00e9\\/" }
            """
        #expect(
            try JSONValue(parsing: text).canonicalText
                == #"{"config":{"digest":"sha256:def","size":7},"layers":[{"annotations":{},"digest":"sha256:abc","#
                + #""size":32654},{}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2,"#
                + #""x":[],"y":"é/"}"#)
    }

    @Test("The form for people has the same value")
    func pretty() throws {
        let value: JSONValue = ["b": [1, ["c": []]], "a": [:]]
        #expect(
            value.prettyText == """
                {
                  "a": {},
                  "b": [
                    1,
                    {
                      "c": []
                    }
                  ]
                }
                """)
        #expect(try JSONValue(parsing: value.prettyText) == value)
    }

    @Test("Every single character survives writing and reading")
    func everyCharacter() throws {
        for code in UInt32(0)...0x2FFF {
            guard let scalar = Unicode.Scalar(code) else { continue }
            let value = JSONValue.string(String(scalar))
            #expect(try JSONValue(parsing: value.canonicalBytes) == value)
        }
    }
}
