/// XXH64, the hash by which the buildpack lifecycle names the directories and caches of buildpacks
/// (xxHash fast digest algorithm, specification 0.1.1, "XXH64 Algorithm Description"). It is no checksum against
/// forgery.
public enum XXH64 {
    private static let prime1: UInt64 = 0x9e37_79b1_85eb_ca87
    private static let prime2: UInt64 = 0xc2b2_ae3d_27d4_eb4f
    private static let prime3: UInt64 = 0x1656_67b1_9e37_79f9
    private static let prime4: UInt64 = 0x85eb_ca77_c2b2_ae63
    private static let prime5: UInt64 = 0x27d4_eb2f_1656_67c5

    /// The name of the directory of a buildpack, and of its cache: the hash of its key as 16 lower-case hexadecimal
    /// digits.
    public static func directoryName(of key: String) -> String {
        let text = String(hash(key.utf8), radix: 16)
        return String(repeating: "0", count: 16 - text.utf8.count) + text
    }

    public static func hash(_ input: some Collection<UInt8>, seed: UInt64 = 0) -> UInt64 {
        let bytes = Array(input)
        var offset = 0
        var hash: UInt64
        if bytes.count >= 32 {
            var lanes = [seed &+ prime1 &+ prime2, seed &+ prime2, seed, seed &- prime1]
            while bytes.count - offset >= 32 {
                for lane in 0..<4 { lanes[lane] = round(lanes[lane], word(bytes, offset + 8 * lane, 8)) }
                offset += 32
            }
            hash = rotate(lanes[0], 1) &+ rotate(lanes[1], 7) &+ rotate(lanes[2], 12) &+ rotate(lanes[3], 18)
            for lane in lanes { hash = (hash ^ round(0, lane)) &* prime1 &+ prime4 }
        } else {
            hash = seed &+ prime5
        }
        hash &+= UInt64(bytes.count)
        while bytes.count - offset >= 8 {
            hash = rotate(hash ^ round(0, word(bytes, offset, 8)), 27) &* prime1 &+ prime4
            offset += 8
        }
        if bytes.count - offset >= 4 {
            hash = rotate(hash ^ word(bytes, offset, 4) &* prime1, 23) &* prime2 &+ prime3
            offset += 4
        }
        for byte in bytes[offset...] { hash = rotate(hash ^ UInt64(byte) &* prime5, 11) &* prime1 }
        hash = (hash ^ hash >> 33) &* prime2
        hash = (hash ^ hash >> 29) &* prime3
        return hash ^ hash >> 32
    }

    private static func round(_ accumulator: UInt64, _ lane: UInt64) -> UInt64 {
        rotate(accumulator &+ lane &* prime2, 31) &* prime1
    }

    private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }

    /// A little-endian number of `count` bytes.
    private static func word(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in (0..<count).reversed() { value = value << 8 | UInt64(bytes[offset + index]) }
        return value
    }
}
