/// The machine and the dynamic loader that a Linux program's head asks for (System V ABI, "Object Files").
public struct ELFProgram: Sendable, Hashable {
    public enum Interpreter: Sendable, Hashable {
        /// The program names no loader: it is linked statically.
        case none
        /// The dynamic loader's path, as it stands in the program.
        case path([UInt8])
        /// The head does not tell: the loader's name lies further inside, or the program headers are malformed.
        case beyond
    }

    /// How many of a program's first bytes are read.
    static let headLength = 64 << 10

    /// `e_machine`: 62 is amd64, 183 arm64.
    public let machine: UInt16
    public let is64Bit: Bool
    public let isLittleEndian: Bool
    public let interpreter: Interpreter

    /// - Parameter head: a file's first bytes.
    /// - Returns: nil if the file is no ELF file, or its ELF header is broken.
    init?(head: [UInt8]) {
        guard head.count >= 52, head.starts(with: Self.magic), (1...2).contains(head[4]), (1...2).contains(head[5])
        else { return nil }
        let reader = Reader(bytes: head, isLittleEndian: head[5] == 1)
        is64Bit = head[4] == 2
        isLittleEndian = reader.isLittleEndian
        let wide = is64Bit
        guard let machine = reader.number(at: 18, bytes: 2), let table = reader.number(at: wide ? 32 : 28, wide: wide),
            let size = reader.number(at: wide ? 54 : 42, bytes: 2),
            let count = reader.number(at: wide ? 56 : 44, bytes: 2)
        else { return nil }
        self.machine = UInt16(truncatingIfNeeded: machine)
        interpreter = Self.interpreter(reader, table: table, entrySize: size, count: count, wide: wide)
    }

    static let magic: [UInt8] = [0x7f, UInt8(ascii: "E"), UInt8(ascii: "L"), UInt8(ascii: "F")]
    /// The type of the program header that names the loader (`PT_INTERP`).
    private static let interpreterType: UInt64 = 3

    private static func interpreter(
        _ reader: Reader, table: UInt64, entrySize: UInt64, count: UInt64, wide: Bool
    ) -> Interpreter {
        guard count > 0 else { return .none }
        guard table < headLength, entrySize >= (wide ? 56 : 32) else { return .beyond }
        for index in 0..<count {
            let entry = Int(table + index * entrySize)
            guard let type = reader.number(at: entry, bytes: 4),
                let offset = reader.number(at: entry + (wide ? 8 : 4), wide: wide),
                let length = reader.number(at: entry + (wide ? 32 : 16), wide: wide)
            else { return .beyond }
            guard type == interpreterType else { continue }
            guard offset <= headLength, (2...4096).contains(length), Int(offset + length) <= reader.bytes.count else {
                return .beyond
            }
            return .path(Array(reader.bytes[Int(offset)..<Int(offset + length)].prefix { $0 != 0 }))
        }
        return .none
    }

    private struct Reader {
        let bytes: [UInt8]
        let isLittleEndian: Bool

        func number(at offset: Int, bytes count: Int) -> UInt64? {
            guard offset >= 0, offset <= bytes.count - count else { return nil }
            let part = bytes[offset..<offset + count]
            return (isLittleEndian ? Array(part.reversed()) : Array(part)).reduce(0) { $0 << 8 | UInt64($1) }
        }

        func number(at offset: Int, wide: Bool) -> UInt64? { number(at: offset, bytes: wide ? 8 : 4) }
    }
}
