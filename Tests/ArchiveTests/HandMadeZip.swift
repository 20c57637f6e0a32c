/// A zip written byte by byte, right or wrong, without compression (APPNOTE 6.3.10, section 4.3).
struct HandMadeZip {
    struct Entry {
        var name: [UInt8]
        var content: [UInt8] = []
        /// File type and permissions; 0 for none.
        var mode: UInt32 = 0o100644
        /// Which system it says it was made on: 3 is Unix, 0 is MS-DOS.
        var system: UInt8 = 3
        var flags: UInt16 = 0
        var method: UInt16 = 0
        /// What the local header says, where that is something else.
        var localName: [UInt8]?
        var crc: UInt32?
        var size: UInt32?
        /// Extra fields, in both headers.
        var extra: [UInt8] = []
        /// Where the directory says that it begins, where that is something else.
        var offset: UInt32?

        init(_ name: String, _ content: String = "", mode: UInt32 = 0o100644) {
            self.name = Array(name.utf8)
            self.content = Array(content.utf8)
            self.mode = mode
        }

        static func link(_ name: String, _ target: String) -> Entry { Entry(name, target, mode: 0o120777) }
        static func directory(_ name: String, mode: UInt32 = 0o755) -> Entry { Entry(name, mode: 0o040000 | mode) }
    }

    var entries: [Entry]

    init(_ entries: [Entry]) { self.entries = entries }

    /// 2026-01-02 03:04:06.
    private static let time: [UInt8] = number(0x1883, 2) + number(0x5c22, 2)

    var bytes: [UInt8] {
        var output: [UInt8] = []
        var directory: [UInt8] = []
        for entry in entries {
            let offset = entry.offset ?? UInt32(output.count)
            var common = Self.number(entry.flags, 2)
            common += Self.number(entry.method, 2)
            common += Self.time
            common += Self.number(entry.crc ?? Self.crc(entry.content), 4)
            common += Self.number(entry.content.count, 4)
            common += Self.number(entry.size ?? UInt32(entry.content.count), 4)
            let localName = entry.localName ?? entry.name
            output += [0x50, 0x4b, 3, 4, 20, 0]
            output += common
            output += Self.number(localName.count, 2)
            output += Self.number(entry.extra.count, 2)
            output += localName
            output += entry.extra
            output += entry.content
            directory += [0x50, 0x4b, 1, 2, 20, entry.system, 20, 0]
            directory += common
            directory += Self.number(entry.name.count, 2)
            directory += Self.number(entry.extra.count, 2)
            directory += [0, 0, 0, 0, 0, 0]
            directory += Self.number(entry.mode << 16, 4)
            directory += Self.number(offset, 4)
            directory += entry.name
            directory += entry.extra
        }
        let start = output.count
        output += directory
        output += [0x50, 0x4b, 5, 6, 0, 0, 0, 0]
        output += Self.number(entries.count, 2)
        output += Self.number(entries.count, 2)
        output += Self.number(directory.count, 4)
        output += Self.number(start, 4)
        output += [0, 0]
        return output
    }

    static func number(_ value: some BinaryInteger, _ length: Int) -> [UInt8] {
        (0..<length).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    /// CRC-32 as zip has it.
    static func crc(_ bytes: [UInt8]) -> UInt32 {
        var crc = ~UInt32(0)
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : crc >> 1 ^ 0xedb8_8320 }
        }
        return ~crc
    }
}
