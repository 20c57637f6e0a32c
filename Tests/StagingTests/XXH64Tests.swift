import Staging
import Testing

@Suite("The hash that names directories of buildpacks")
struct XXH64Tests {
    @Test(
        "is XXH64",
        arguments: [
            ("", 0, 0xef46_db37_51d8_e999), ("a", 0, 0xd24e_c4f1_a98c_6e5b), ("abc", 0, 0x44bc_2cf5_ad77_0999),
            ("xxhash", 20_141_025, 0xb559_b98d_844e_0635),
            ("I want an unsigned 64-bit seed!", 0, 0xd4cb_0a70_a2b8_c7c1),
            ("Nobody inspects the spammish repetition", 0, 0xfbce_a83c_8a37_8bf1),
            ("The quick brown fox jumps over the lazy dog", 0, 0x0b24_2d36_1fda_71bc),
        ] as [(String, UInt64, UInt64)])
    func vectors(text: String, seed: UInt64, hash: UInt64) {
        #expect(XXH64.hash(text.utf8, seed: seed) == hash)
    }

    @Test("gives 16 digits, zeros in front included")
    func names() {
        #expect(XXH64.directoryName(of: "The quick brown fox jumps over the lazy dog") == "0b242d361fda71bc")
    }
}
