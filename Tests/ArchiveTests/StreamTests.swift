import Archive
import Testing

@Suite("Compressed streams")
struct StreamTests {
    static func noise(_ count: Int) -> [UInt8] {
        var generator = SplitMix(state: UInt64(count))
        return (0..<count).map { $0 % 3 == 0 ? UInt8.random(in: 0...255, using: &generator) : UInt8($0 % 64) }
    }

    /// - Parameter pieces: how many pieces are handed over at once.
    static func compress(
        _ bytes: [UInt8], _ format: CompressionFormat, level: CompressionLevel = .fast, pieces: Int = 2
    ) throws -> [UInt8] {
        var compressor = try Compressor(format, level: level)
        var output: [UInt8] = []
        var position = 0
        repeat {
            let end = min(bytes.count, position + pieces * Compressor.pieceSize)
            let piece = Array(bytes[position..<end])
            let result: Result<[UInt8], ArchiveError> = piece.withUnsafeBytes { piece in
                do throws(ArchiveError) {
                    return .success(try compressor.compress(piece, isLast: end == bytes.count))
                } catch {
                    return .failure(error)
                }
            }
            output += try result.get()
            position = end
        } while position < bytes.count
        return output
    }

    /// Decompresses with input and room of the given sizes.
    static func decompress(_ bytes: [UInt8], input: Int, room: Int, window: Int = 8 << 20) throws -> [UInt8] {
        var decompressor = Decompressor(maximumWindow: window)
        var output: [UInt8] = []
        var target = [UInt8](repeating: 0, count: room)
        var position = 0
        var available = 0
        while true {
            let chunk = Array(bytes[position..<available])
            let result: Result<Decompressor.Step, ArchiveError> = target.withUnsafeMutableBytes { target in
                chunk.withUnsafeBytes { chunk in
                    do throws(ArchiveError) {
                        return .success(try decompressor.step(chunk, into: target))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            let step = try result.get()
            output += target[..<step.produced]
            position += step.consumed
            guard step.consumed == 0, step.produced == 0 else { continue }
            if available == bytes.count { break }
            available = min(bytes.count, available + input)
        }
        try decompressor.finish()
        return output
    }

    @Test(
        "come back as they were, whatever the pieces", arguments: CompressionFormat.allCases,
        [(1, 70_000), (7, 13), (100_000, 1), (4096, 512), (1 << 20, 1 << 20)])
    func roundTrip(_ format: CompressionFormat, _ pieces: (input: Int, room: Int)) throws {
        for size in [4, 1000, 100_000, 300_001] where size < 100_000 || pieces.input * pieces.room > 50_000 {
            let bytes = Self.noise(size)
            let stream = try Self.compress(bytes, format)
            #expect(CompressionFormat(detecting: stream) == format)
            #expect(try Self.decompress(stream, input: pieces.input, room: pieces.room) == bytes)
        }
    }

    @Test("that are to be small come back as they were, say nothing but the content, and are smaller")
    func small() throws {
        for size in [0, 1, 1000, 65_536, 300_001] {
            let bytes = Self.noise(size)
            let stream = try Self.compress(bytes, .gzip, level: .small)
            for pieces in [1, 3, 8] {
                #expect(try Self.compress(bytes, .gzip, level: .small, pieces: pieces) == stream)
            }
            #expect(stream.prefix(8) == [0x1f, 0x8b, 8, 0, 0, 0, 0, 0])
            #expect(try Self.decompress(stream, input: 70_000, room: 70_000) == bytes)
        }
        let text = Array(String(repeating: "a line of a log with the number 12345\n", count: 9000).utf8)
        let fast = try Self.compress(text, .gzip)
        #expect(try Self.compress(text, .gzip, level: .small).count < fast.count)
    }

    @Test("of nothing are valid streams", arguments: [CompressionFormat.gzip, .zstd])
    func empty(_ format: CompressionFormat) throws {
        let stream = try Self.compress([], format)
        #expect(!stream.isEmpty)
        #expect(try Self.decompress(stream, input: 1, room: 100).isEmpty)
        #expect(try Self.decompress(stream + stream, input: 3, room: 100).isEmpty)
    }

    @Test("of gzip say nothing but the content: no time, no name")
    func header() throws {
        let stream = try Self.compress(Array("hello".utf8), .gzip)
        #expect(stream.prefix(8) == [0x1f, 0x8b, 8, 0, 0, 0, 0, 0])
    }

    @Test("of gzip may have every optional header field", arguments: [1, 2, 3, 1000])
    func gzipFields(_ input: Int) throws {
        let plain = try Self.compress(Array("hello".utf8), .gzip)
        // FEXTRA, FNAME, FCOMMENT and FHCRC (RFC 1952, section 2.3.1).
        let header: [UInt8] =
            [0x1f, 0x8b, 8, 0x1e, 1, 2, 3, 4, 0, 3, 3, 0, 9, 9, 9] + Array("name\u{0}comment\u{0}".utf8) + [0x2b, 0xca]
        let stream = header + plain.dropFirst(10)
        #expect(try Self.decompress(stream, input: input, room: 64) == Array("hello".utf8))
        #expect(try Self.decompress(stream + stream, input: input, room: 64) == Array("hellohello".utf8))
        for index in [2, 3, 5, 12, 16, header.count - 1] {
            var wrong = stream
            wrong[index] ^= 0x40
            #expect(throws: ArchiveError.self) { try Self.decompress(wrong, input: input, room: 64) }
        }
    }

    @Test("of gzip with another method or reserved bytes wrong are refused")
    func gzipMethod() throws {
        var stream = try Self.compress(Array("hello".utf8), .gzip)
        stream[2] = 7
        #expect(throws: ArchiveError.self) { try Self.decompress(stream, input: 100, room: 100) }
    }

    @Test("of zstd may have skippable frames and several frames")
    func zstdFrames() throws {
        let frame = try Self.compress(Array("hello".utf8), .zstd)
        let skippable: [UInt8] = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]
        let stream = skippable + frame + skippable + frame
        #expect(CompressionFormat(detecting: stream) == .zstd)
        for input in [1, 5, 1000] {
            #expect(try Self.decompress(stream, input: input, room: 64) == Array("hellohello".utf8))
        }
    }

    @Test(
        "that are changed anywhere never crash, and gzip and zstd notice", arguments: [CompressionFormat.gzip, .zstd])
    func mutated(_ format: CompressionFormat) throws {
        let bytes = Self.noise(20_000)
        let stream = try Self.compress(bytes, format)
        var generator = SplitMix(state: 77)
        for _ in 0..<3000 {
            var wrong = stream
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                wrong[Int.random(in: 0..<wrong.count, using: &generator)] ^= UInt8.random(
                    in: 1...255, using: &generator)
            }
            if Bool.random(using: &generator) { wrong.removeLast(Int.random(in: 1..<wrong.count, using: &generator)) }
            // Some header bytes mean nothing; then the content must be the same.
            if let output = try? Self.decompress(wrong, input: 700, room: 8192),
                CompressionFormat(detecting: wrong) == format
            {
                #expect(output == bytes)
            }
        }
    }
}
