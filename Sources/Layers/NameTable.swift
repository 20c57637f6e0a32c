/// The set of names that an archive has had, each with a mark. It keeps hashes instead of names: 16 bytes a name, and
/// room to grow.
///
/// A name is known by 96 bits of a hash keyed by random numbers (SipHash), so that nobody can make two names collide on
/// purpose, and chance won't (2⁻⁵⁶ for a million names).
struct NameTable {
    enum Kind: UInt32 {
        /// A directory that has had no entry yet, known because something lies below it.
        case impliedDirectory = 1
        case directory
        case file
        case symbolicLink
        /// An entry that was left out of the layer.
        case dropped
    }

    struct Mark: Hashable {
        var kind: Kind
        /// The bits of 07777.
        var mode: UInt32
        /// A number of the caller's that must also agree for two marks to be the same: a layer, or a hash of an owner.
        var tag: UInt16

        fileprivate var bits: UInt32 { kind.rawValue | (mode & 0o7777) << 3 | UInt32(tag) << 15 }

        fileprivate init?(bits: UInt32) {
            guard let kind = Kind(rawValue: bits & 7) else { return nil }
            self.init(kind: kind, mode: bits >> 3 & 0o7777, tag: UInt16(truncatingIfNeeded: bits >> 15))
        }

        init(kind: Kind, mode: UInt32 = 0, tag: UInt16 = 0) {
            self.kind = kind
            self.mode = mode
            self.tag = tag
        }
    }

    private struct Slot {
        var hash: UInt64 = 0
        var more: UInt32 = 0
        /// 0 in an empty slot.
        var bits: UInt32 = 0
    }

    /// One of several small tables, which share the names, so that growing one never takes long.
    private struct Shard {
        var slots = [Slot](repeating: Slot(), count: 16)
        var used = 0
    }

    private static let shardBits = 6
    private var shards = [Shard](repeating: Shard(), count: 1 << shardBits)
    private let key: (UInt64, UInt64)
    private(set) var count = 0

    init() {
        var generator = SystemRandomNumberGenerator()
        key = (generator.next(), generator.next())
    }

    subscript(name: some Collection<UInt8>) -> Mark? {
        get {
            let (hash, more) = hashes(name)
            let shard = shards[Int(hash >> (64 - UInt64(Self.shardBits)))]
            return Mark(bits: shard.slots[Self.index(shard.slots, hash, more)].bits)
        }
        set {
            guard let newValue else { return }
            let (hash, more) = hashes(name)
            let shardIndex = Int(hash >> (64 - UInt64(Self.shardBits)))
            if shards[shardIndex].used * 4 >= shards[shardIndex].slots.count * 3 { grow(shardIndex) }
            let index = Self.index(shards[shardIndex].slots, hash, more)
            if shards[shardIndex].slots[index].bits == 0 {
                shards[shardIndex].used += 1
                count += 1
            }
            shards[shardIndex].slots[index] = Slot(hash: hash, more: more, bits: newValue.bits)
        }
    }

    /// The index of a name's slot or, if the table does not have it, of the free slot where it would go.
    private static func index(_ slots: [Slot], _ hash: UInt64, _ more: UInt32) -> Int {
        var index = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[index].bits != 0, slots[index].hash != hash || slots[index].more != more {
            index = (index + 1) & (slots.count - 1)
        }
        return index
    }

    private mutating func grow(_ shardIndex: Int) {
        let old = shards[shardIndex].slots
        var slots = [Slot](repeating: Slot(), count: old.count * 2)
        for slot in old where slot.bits != 0 { slots[Self.index(slots, slot.hash, slot.more)] = slot }
        shards[shardIndex].slots = slots
    }

    /// What a name is known by.
    func hashes(_ name: some Collection<UInt8>) -> (UInt64, UInt32) {
        var hasher = Hasher()
        hasher.combine(key.0)
        hasher.combine(key.1)
        if name.withContiguousStorageIfAvailable({ hasher.combine(bytes: UnsafeRawBufferPointer($0)) }) == nil {
            for byte in name { hasher.combine(byte) }
        }
        var second = hasher
        second.combine(UInt8(1))
        return (
            UInt64(bitPattern: Int64(hasher.finalize())),
            UInt32(truncatingIfNeeded: second.finalize())
        )
    }
}
