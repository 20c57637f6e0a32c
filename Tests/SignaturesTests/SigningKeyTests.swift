import Signatures
import TestSupport
import Testing

@Suite("A signing key")
struct SigningKeyTests {
    @Test("signs as RFC 8032 has it (section 7.1, tests 1 and 2)")
    func vectors() throws {
        let empty = try SigningKey.published(1).signature(of: [])
        #expect(empty.prefix(8) == [0xE5, 0x56, 0x43, 0x00, 0xC3, 0x60, 0xAC, 0x72])
        let one = try SigningKey.published(2).signature(of: [0x72])
        #expect(one.prefix(8) == [0x92, 0xA0, 0x09, 0xA9, 0xF0, 0xD4, 0xCA, 0xB8])
    }

    @Test(
        "what is no Ed25519 key is refused, and the reason has nothing of it",
        arguments: [
            "", "secret text", SigningKey.pem("PRIVATE KEY", [0x30, 0]), SigningKey.pem("PUBLIC KEY", [0x30, 0]),
        ])
    func keys(_ text: String) {
        do {
            _ = try SigningKey(pem: Array(text.utf8))
            Issue.record("taken: \(text)")
        } catch { #expect(!"\(error)".contains("secret")) }
    }

    @Test("Its signatures are known by its public key")
    func known() throws {
        let key = try SigningKey.published()
        let content = Array("content".utf8)
        // RFC 8410, section 4, and the public key of RFC 8032, section 7.1, test 1.
        let head: [UInt8] = [0x30, 0x2A, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 3, 0x21, 0]
        let trusted = try TrustedKey(
            name: "published", file: Array(SigningKey.pem("PUBLIC KEY", head + SigningKey.publishedPublicKey).utf8))
        let signature = try DetachedSignature(parsing: try key.signature(of: content))
        #expect(try signature.signer(of: content, among: TrustedKeys(keys: [trusted])) == trusted)
        #expect(throws: SignatureError.self) {
            try signature.signer(of: content + [0], among: TrustedKeys(keys: [trusted]))
        }
    }
}
