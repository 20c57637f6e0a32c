import Archive
import Testing

@Suite("What the writer writes, the reader reads")
struct TarRoundTripTests {
    /// Reads an archive that is handed over in pieces of the given size, with what is left of a piece before the next.
    static func read(_ tar: [UInt8], pieces: Int) throws -> [(TarEntry, [UInt8])] {
        var reader = TarReader()
        var found: [(TarEntry, [UInt8])] = []
        var held: [UInt8] = []
        for start in stride(from: 0, to: tar.count, by: pieces) {
            held += tar[start..<min(tar.count, start + pieces)]
            var position = 0
            reading: while true {
                var consumed = 0
                let event = try reader.next(held.span.extracting(position..<held.count), consumed: &consumed)
                position += consumed
                switch event {
                case .entry(let entry): found.append((entry, []))
                case .content(let count):
                    found[found.count - 1].1 += held[position..<position + count]
                    position += count
                case .hole(let length): found[found.count - 1].1 += [UInt8](repeating: 0, count: Int(length))
                case .needsInput: break reading
                }
            }
            held.removeFirst(position)
        }
        try reader.finish()
        return found
    }

    static func randomEntry(_ generator: inout SplitMix) -> TarEntry {
        func name(_ limit: Int) -> [UInt8] {
            let length = Int.random(in: 1...limit, using: &generator)
            return (0..<length).map { index in
                index > 0 && index % 9 == 0 ? UInt8(ascii: "/") : UInt8.random(in: 1...255, using: &generator)
            }.map { $0 == UInt8(ascii: "\n") ? 65 : $0 }
        }
        let kinds: [TarEntry.Kind] = [
            .file, .directory, .symbolicLink, .hardLink, .characterDevice, .blockDevice, .fifo,
        ]
        let kind = kinds.randomElement(using: &generator) ?? .file
        var path = name([20, 100, 101, 255, 300, 2000].randomElement(using: &generator) ?? 20)
        while path.last == UInt8(ascii: "/") { path.removeLast() }
        if path.isEmpty { path = [65] }
        if kind == .directory { path.append(UInt8(ascii: "/")) }
        let isLink = kind == .symbolicLink || kind == .hardLink
        let large: Int64 = 1 << 40
        return TarEntry(
            kind: kind, name: path,
            linkName: isLink ? name([10, 100, 101, 400].randomElement(using: &generator) ?? 10) : [],
            mode: UInt32.random(in: 0...0o7777, using: &generator),
            userID: [0, 2000, 0o777_7777, 0o1000_0000, large].randomElement(using: &generator) ?? 0,
            groupID: [0, 2000, 0o777_7777, 0o1000_0000, large].randomElement(using: &generator) ?? 0,
            modified: TarTime(
                seconds: [0, 1, -1, -100_000, 1_700_000_000, 1 << 33, 1 << 40].randomElement(using: &generator) ?? 0,
                nanoseconds: [0, 1, 999_999_999, 500_000_000].randomElement(using: &generator) ?? 0),
            size: kind == .file ? [0, 1, 511, 512, 513, 5000].randomElement(using: &generator) ?? 0 : 0,
            records: Bool.random(using: &generator)
                ? [] : [TarRecord(key: "SCHILY.xattr.security.capability", value: [1, 0, 10, 61])])
    }

    @Test("for any entry, whatever pieces it comes in", arguments: [512, 513, 1000, 10_000, 1 << 20])
    func roundTrip(_ pieces: Int) throws {
        var generator = SplitMix(state: UInt64(pieces))
        var tar: [UInt8] = []
        var expected: [(TarEntry, [UInt8])] = []
        for _ in 0..<300 {
            let entry = Self.randomEntry(&generator)
            let content = (0..<Int(entry.size)).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            TarWriter.append(entry, to: &tar)
            tar += content + [UInt8](repeating: 0, count: TarWriter.padding(entry.size))
            expected.append((entry, content))
        }
        tar += [UInt8](repeating: 0, count: TarWriter.endLength)
        let found = try Self.read(tar, pieces: pieces)
        #expect(found.count == expected.count)
        for (one, two) in zip(found, expected) {
            #expect(one.0 == two.0)
            #expect(one.1 == two.1)
        }
    }

    @Test("with the size of a file over 8 GiB")
    func largeSize() throws {
        let entry = TarEntry(kind: .file, name: [65], mode: 0, modified: TarTime(seconds: 0), size: 1 << 34)
        var tar: [UInt8] = []
        TarWriter.append(entry, to: &tar)
        #expect(tar.count == 3 * 512)
        var reader = TarReader()
        var consumed = 0
        #expect(try reader.next(tar.span, consumed: &consumed) == .entry(entry))
    }

    @Test("with no more header than is needed")
    func canonical() throws {
        func blocks(_ name: Int, link: Int = 0, seconds: Int64 = 0) -> Int {
            var tar: [UInt8] = []
            // A name that ustar can cut in the middle, where it is long enough.
            let path = (0..<name).map { $0 % 50 == 49 ? UInt8(ascii: "/") : UInt8(ascii: "a") }
            TarWriter.append(
                TarEntry(
                    kind: .symbolicLink, name: path, linkName: [UInt8](repeating: 66, count: link), mode: 0o777,
                    modified: TarTime(seconds: seconds)), to: &tar)
            return tar.count / 512
        }
        #expect(blocks(99) == 1)
        #expect(blocks(101) == 1)
        #expect(blocks(240) == 1)
        #expect(blocks(260) == 3)
        #expect(blocks(10, link: 100) == 1)
        #expect(blocks(10, link: 101) == 3)
        #expect(blocks(10, seconds: 0o777_7777_7777) == 1)
        #expect(blocks(10, seconds: -1) == 3)
    }
}
