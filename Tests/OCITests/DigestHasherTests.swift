import OCI
import Testing

/// Vectors of FIPS 180-4's examples and NIST's CAVP.
private let vectors: [(text: String, sha1: String, sha256: String, sha512: String)] = [
    (
        "", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
            + "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
    ),
    (
        "abc", "a9993e364706816aba3e25717850c26c9cd0d89d",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    ),
    (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        "204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c335"
            + "96fd15c13b1b07f9aa1d3bea57789ca031ad85c7a71dd70354ec631238ca3445"
    ),
    (
        String(repeating: "a", count: 1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
            + "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"
    ),
]

@Suite("Hashers")
struct DigestHasherTests {
    @Test("Known texts have their known digests", arguments: vectors.indices)
    func known(index: Int) {
        let vector = vectors[index]
        #expect(Digest.of(vector.text.utf8).description == "sha256:" + vector.sha256)
        #expect(Digest.of(vector.text.utf8, .sha512).description == "sha512:" + vector.sha512)
        var sha1 = SHA1Hasher()
        Array(vector.text.utf8).withUnsafeBytes { sha1.update($0) }
        #expect(sha1.finish() == vector.sha1)
    }

    @Test(
        "It does not matter how the bytes are cut", arguments: DigestAlgorithm.allCases,
        [1, 3, 63, 64, 65, 127, 128, 1000])
    func pieces(algorithm: DigestAlgorithm, size: Int) {
        let bytes = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        var hasher = DigestHasher(algorithm)
        for start in stride(from: 0, to: bytes.count, by: size) {
            hasher.update(bytes[start..<min(start + size, bytes.count)])
        }
        #expect(hasher.finish() == Digest.of(bytes, algorithm))
    }

    @Test("Bytes that are no array are hashed too, and nothing changes nothing", arguments: DigestAlgorithm.allCases)
    func sequences(algorithm: DigestAlgorithm) {
        var hasher = DigestHasher(algorithm)
        hasher.update((0..<100).lazy.map { UInt8($0) })
        hasher.update(EmptyCollection<UInt8>())
        hasher.update(UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(hasher.finish() == Digest.of(Array(0..<100), algorithm))
    }

    @Test(
        "A copy is a saved state: both go on from the same point without each other",
        arguments: DigestAlgorithm.allCases)
    func copies(algorithm: DigestAlgorithm) {
        var hasher = DigestHasher(algorithm)
        hasher.update("ab".utf8)
        var saved = hasher
        hasher.update("XYZ".utf8)
        saved.update("c".utf8)
        #expect(saved.finish() == Digest.of("abc".utf8, algorithm))
        #expect(hasher.finish() == Digest.of("abXYZ".utf8, algorithm))
    }

    @Test("A digest may be asked for in the middle, and twice", arguments: DigestAlgorithm.allCases)
    func finishing(algorithm: DigestAlgorithm) {
        var hasher = DigestHasher(algorithm)
        hasher.update("ab".utf8)
        #expect(hasher.finish() == Digest.of("ab".utf8, algorithm))
        hasher.update("c".utf8)
        #expect(hasher.finish() == Digest.of("abc".utf8, algorithm))
        #expect(hasher.finish() == Digest.of("abc".utf8, algorithm))
    }

    @Test("SHA-1 saves and goes on in the same way")
    func sha1Copies() {
        var hasher = SHA1Hasher()
        Array("ab".utf8).withUnsafeBytes { hasher.update($0) }
        var saved = hasher
        Array("X".utf8).withUnsafeBytes { hasher.update($0) }
        Array("c".utf8).withUnsafeBytes { saved.update($0) }
        #expect(saved.finish() == vectors[1].sha1)
        #expect(hasher.finish() != saved.finish())
        #expect(saved.finish() == vectors[1].sha1)
    }
}
