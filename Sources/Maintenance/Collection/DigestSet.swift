import OCI

/// A set of digests, or of other random hexadecimal names, that keeps 64 bits of each: 11 to 22 bytes of memory a name.
/// Two names with the same 64 bits count as one, so some garbage may stay, but needed content is never removed.
struct DigestSet {
    private var slots: [UInt64]
    private(set) var count = 0

    init(capacity: Int = 1024) { slots = Array(repeating: 0, count: Self.size(for: capacity)) }

    mutating func insert(_ digest: Digest) { insert(hexadecimal: digest.hex) }
    func contains(_ digest: Digest) -> Bool { contains(hexadecimal: digest.hex) }

    mutating func insert(hexadecimal name: some StringProtocol) { insert(key: Self.key(name)) }

    /// - Parameter key: a name's key, as `key` makes it.
    mutating func insert(key: UInt64) {
        if count * 4 >= slots.count * 3 { grow() }
        if Self.insert(key, into: &slots) { count += 1 }
    }

    func contains(hexadecimal name: String) -> Bool {
        let key = Self.key(name)
        var index = Int(truncatingIfNeeded: key) & (slots.count - 1)
        while slots[index] != 0 {
            if slots[index] == key { return true }
            index = (index + 1) & (slots.count - 1)
        }
        return false
    }

    private mutating func grow() {
        var larger = [UInt64](repeating: 0, count: slots.count * 2)
        for key in slots where key != 0 { _ = Self.insert(key, into: &larger) }
        slots = larger
    }

    private static func insert(_ key: UInt64, into slots: inout [UInt64]) -> Bool {
        var index = Int(truncatingIfNeeded: key) & (slots.count - 1)
        while slots[index] != 0 {
            if slots[index] == key { return false }
            index = (index + 1) & (slots.count - 1)
        }
        slots[index] = key
        return true
    }

    static func key(_ digest: Digest) -> UInt64 { key(digest.hex) }

    /// The name's first 64 bits; 1 instead of 0, which marks an empty slot.
    private static func key(_ name: some StringProtocol) -> UInt64 {
        var key: UInt64 = 0
        for byte in name.utf8.prefix(16) {
            key = key << 4 | UInt64(byte & 15) &+ (byte >= UInt8(ascii: "a") ? 9 : 0)
        }
        return key == 0 ? 1 : key
    }

    private static func size(for capacity: Int) -> Int {
        var size = 1024
        while size * 3 < capacity * 4 { size *= 2 }
        return size
    }
}
