import JSON
import TestSupport
import Testing

@Suite("JSON that was tampered with")
struct JSONFuzzTests {
    private static let seeds = [
        #"{"a":[1,-2.5e+3,true,false,null,"\u0041\ud83d\ude00\n"],"b":{"c":{"d":[]}},"é":"€"}"#,
        #"[[[[{"x":"\\\"/"}]]],0.1,1E9,""]"#,
        #"  {"schemaVersion" : 2 , "layers" : [ {"size":1} , {"size":2} ] }  "#,
    ]

    @Test("A changed document is either refused or written and read again as the same", arguments: 0..<8)
    func mutations(round: Int) throws {
        var numbers = SeededRandom(seed: UInt64(round))
        let alphabet = Array(#"{}[],:"\u0eE+-.19 tfn"#.utf8) + [0x00, 0x80, 0xC3, 0xED, 0xFF]
        var accepted = 0
        for _ in 0..<2_000 {
            var bytes = Array(Self.seeds[Int.random(in: 0..<Self.seeds.count, using: &numbers)].utf8)
            for _ in 0..<Int.random(in: 1...3, using: &numbers) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &numbers)
                let byte = alphabet[Int.random(in: 0..<alphabet.count, using: &numbers)]
                switch Int.random(in: 0..<4, using: &numbers) {
                case 0: bytes[place] = byte
                case 1: bytes.insert(byte, at: place)
                case 2: bytes.remove(at: place)
                default: bytes.removeSubrange(place...)
                }
            }
            guard let value = try? JSONValue(parsing: bytes) else { continue }
            accepted += 1
            let canonical = value.canonicalBytes
            let again = try JSONValue(parsing: canonical)
            #expect(again == value)
            #expect(again.canonicalBytes == canonical)
            #expect(try JSONValue(parsing: value.prettyText) == value)
        }
        #expect(accepted > 20)
    }

    @Test("Every beginning of a document is refused", arguments: seeds)
    func truncations(seed: String) {
        let bytes = Array(seed.utf8)
        let end = bytes.lastIndex { $0 == UInt8(ascii: "}") || $0 == UInt8(ascii: "]") } ?? 0
        for count in 0...end {
            #expect(throws: JSONError.self) { try JSONValue(parsing: bytes[..<count]) }
        }
    }
}
