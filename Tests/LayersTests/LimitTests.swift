import Archive
import Layers
import OCI
import Synchronization
import Testing

/// A zstd frame of nothing, whose header asks for so much history.
func emptyFrame(windowLog: UInt8) -> [UInt8] {
    [0x28, 0xb5, 0x2f, 0xfd, 0x00, (windowLog - 10) << 3, 0x01, 0x00, 0x00]
}

@Suite("Limits")
struct LimitTests {
    static func limits(_ change: (inout ConversionLimits) -> Void) -> LayerSettings {
        var settings = LayerSettings()
        change(&settings.limits)
        return settings
    }

    private func expectTooLarge(_ bytes: [UInt8], _ settings: LayerSettings, _ reason: String) async {
        let sink = MemorySink()
        let error = await #expect(throws: ConversionError.self) {
            try await convertDroplet(Chunks(bytes), settings: settings, sink: sink)
        }
        #expect(error?.fault == .tooLarge)
        #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "")")
        #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
    }

    static let megabyte = HandMadeTar.make {
        $0.add(HandMadeTar.Header("zeros"), content: [UInt8](repeating: 0, count: 1 << 20))
    }

    @Test("on the input's bytes")
    func inputBytes() async throws {
        await expectTooLarge(Self.megabyte, Self.limits { $0.inputBytes = 1 << 20 }, "input")
    }

    @Test("on the layers' bytes, found before they are written")
    func outputBytes() async throws {
        await expectTooLarge(Self.megabyte, Self.limits { $0.outputBytes = 1 << 19 }, "larger than allowed")
    }

    @Test("on entries")
    func entries() async throws {
        let tar = HandMadeTar.make { tar in
            for index in 0..<11 { tar.file("\(index)") }
        }
        await expectTooLarge(tar, Self.limits { $0.entries = 10 }, "10 entries")
        _ = try await convertDroplet(Chunks(tar), settings: Self.limits { $0.entries = 11 }, sink: MemorySink())
    }

    @Test("on how much compressed bytes may grow", arguments: [CompressionFormat.gzip, .zstd])
    func bomb(_ format: CompressionFormat) async throws {
        let bomb = try compressed(Self.megabyte, format)
        await expectTooLarge(
            bomb,
            Self.limits {
                $0.ratio = 10
                $0.ratioAllowance = 1 << 18
            }, "10 times")
        _ = try await convertDroplet(Chunks(bomb), sink: MemorySink())
    }

    @Test("stop a bomb that never ends, long before it is a gigabyte")
    func endlessBomb() async throws {
        let zeros = try compressed([UInt8](repeating: 0, count: 4 << 20), .gzip)
        let bomb = try compressed(
            Array(
                HandMadeTar.make { tar in
                    var header = HandMadeTar.Header("zeros")
                    header.size = "77777777777"
                    tar.add(header)
                }.prefix(512)), .gzip)
        let input = Chunks(bomb + Array(repeatElement(zeros, count: 64).joined()))
        let sink = MemorySink()
        let error = await #expect(throws: ConversionError.self) {
            try await convertDroplet(input, settings: Self.limits { $0.ratioAllowance = 32 << 20 }, sink: sink)
        }
        #expect(error?.fault == .tooLarge)
        #expect(sink.state.withLock { $0.bytes } < 8 << 20)
        #expect(sink.openWriters == 0)
    }

    @Test("on zeros after the compressed stream's end", arguments: [CompressionFormat.gzip, .zstd])
    func zeros(_ format: CompressionFormat) async throws {
        let tar = try compressed(HandMadeTar.make { $0.file("a") }, format)
        let zeros = [UInt8](repeating: 0, count: 16 << 20)
        _ = try await convertDroplet(Chunks(tar + zeros), sink: MemorySink())
        await expectTooLarge(tar + zeros + [0], LayerSettings(), "zeros")
    }

    @Test("on names and links' targets leave room for the directory of a container runtime")
    func roomForRuntimes() async throws {
        func path(_ length: Int) -> String {
            var path = ""
            while path.utf8.count + 202 < length { path += String(repeating: "d", count: 200) + "/" }
            return path + String(repeating: "f", count: length - path.utf8.count)
        }
        func name(_ length: Int) -> [UInt8] {
            HandMadeTar.make { tar in
                tar.pax([("path", path(length - "home/vcap/".utf8.count))])
                tar.file("x")
            }
        }
        func target(_ length: Int) -> [UInt8] {
            HandMadeTar.make { tar in
                tar.pax([("linkpath", path(length))])
                tar.link("l", to: "x")
            }
        }
        let limit = ConversionLimits().nameLength
        #expect(limit <= 4095 - 200)
        for bytes in [name(limit), target(limit)] {
            _ = try await convertDroplet(Chunks(bytes), sink: MemorySink())
        }
        for bytes in [name(limit + 1), target(limit + 1)] {
            let error = await #expect(throws: ConversionError.self) {
                try await convertDroplet(Chunks(bytes), sink: MemorySink())
            }
            #expect(error?.fault == .tooLarge && error?.entry != nil)
            #expect(error?.reason.contains("may have \(limit)") == true, "\(error?.reason ?? "")")
        }
    }

    @Test("on names")
    func names() async throws {
        let tar = HandMadeTar.make { tar in
            tar.pax([("path", "aaaaaaaaaa/bbbbbbbbbb")])
            tar.file("x")
        }
        await expectTooLarge(tar, Self.limits { $0.nameLength = 30 }, "too long")
        _ = try await convertDroplet(Chunks(tar), settings: Self.limits { $0.nameLength = 31 }, sink: MemorySink())
    }

    @Test("on holes")
    func holes() async throws {
        let tar = HandMadeTar.make { tar in
            tar.pax([("GNU.sparse.size", "100000"), ("GNU.sparse.name", "s"), ("GNU.sparse.map", "0,10,50000,10")])
            tar.add(HandMadeTar.Header("s"), content: [UInt8](repeating: 1, count: 20))
        }
        await expectTooLarge(tar, Self.limits { $0.holeBytes = 99_979 }, "holes")
        let converted = try await convertDroplet(
            Chunks(tar), settings: Self.limits { $0.holeBytes = 99_980 }, sink: MemorySink())
        #expect(converted.summary.notes.totals == [.filledHoles: 1])
    }

    @Test("on holes that add up to more than a number holds")
    func overflowingHoles() async throws {
        let tar = HandMadeTar.make { tar in
            for (name, size) in [("a", "4294967296"), ("b", "9223372036854775807")] {
                tar.pax([("GNU.sparse.size", size), ("GNU.sparse.name", name), ("GNU.sparse.map", "0,1")])
                tar.add(HandMadeTar.Header(name), content: [1])
            }
        }
        for holes in [8 << 30, Int64.max] {
            let limits = Self.limits {
                $0.holeBytes = holes
                $0.outputBytes = .max
                $0.ratio = .max
            }
            let error = await #expect(throws: ConversionError.self) {
                try await readArchive(Chunks(tar), limits: limits.limits) { _ in }
            }
            #expect(error?.fault == .tooLarge)
        }
    }

    @Test("on directories without an entry")
    func missingParents() async throws {
        let tar = HandMadeTar.make { tar in
            for index in 0..<10 { tar.file("\(index)/x") }
        }
        await expectTooLarge(tar, Self.limits { $0.missingParents = 9 }, "without an entry")
    }

    @Test("on what follows the end")
    func tail() async throws {
        let tar = HandMadeTar.make { $0.file("a") } + [UInt8](repeating: 0, count: 100_000)
        await expectTooLarge(tar, Self.limits { $0.tailBytes = 100_000 }, "zeros")
        _ = try await convertDroplet(Chunks(tar), sink: MemorySink())
    }

    @Test("on the memory that a zstd stream asks for")
    func zstdWindow() async throws {
        await expectTooLarge(emptyFrame(windowLog: 28), LayerSettings(), "256 MiB of history, and at most 128 MiB")
        await expectTooLarge(emptyFrame(windowLog: 41), LayerSettings(), "--long=27")
        // One segment, whose content's size is the window.
        let segment: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0xe0] + [UInt8](repeating: 0xff, count: 8)
        await expectTooLarge(segment, LayerSettings(), "history")
        let tar = try compressed(HandMadeTar.make { $0.file("a") }, .zstd)
        _ = try await convertDroplet(Chunks(emptyFrame(windowLog: 27) + tar), sink: MemorySink())
        await expectTooLarge(tar + emptyFrame(windowLog: 28), LayerSettings(), "history")
    }
}
