import Archive
import Foundation
import Layers
import OCI
import Testing

/// Tests that run this very test program again: under another processor, or alone, so that its memory can be told.
@Suite("In a process of its own")
struct ChildTests {
    /// An instruction set of 2008, one of 2013, and all that the emulator knows.
    @Test("the golden digests hold under other instruction sets", arguments: ["Nehalem", "Haswell", "max"])
    func instructionSets(_ processor: String) throws {
        let output = try run(
            "qemu-x86_64 -cpu \(processor) \"$PROGRAM\"", filter: "LayersTests.GoldenTests/golden", environment: [:])
        #expect(output.contains("1 test in 1 suite passed"))
    }

    @Test("converting 1 GB takes no more memory than converting 50 MB, and a few MB at all")
    func memory() throws {
        /// What a conversion adds to the memory of a process, in KiB, at its peak.
        func peak(_ megabytes: Int) throws -> Int {
            // In one arena: how many the C library makes depends on how its threads happen to meet, and each keeps some
            // of what it was given.
            let output = try run(
                "\"$PROGRAM\"", filter: "LayersTests.ChildTests/converting",
                environment: ["CONVERT_MEGABYTES": "\(megabytes)", "MALLOC_ARENA_MAX": "1"])
            let line = try #require(output.split(separator: "\n").first { $0.contains("added KiB") })
            return try #require(line.split(separator: " ").compactMap { Int($0) }.first)
        }
        // So much fills every queue, which one file may or may not do.
        let small = try peak(50)
        let large = try peak(1000)
        #expect(large - small < 2048, "KiB: \(small) for 50 MB, \(large) for 1 GB")
        #expect(large < 32 << 10, "KiB")
    }

    @Test(
        "converting a stream, and its peak memory",
        .enabled(if: ProcessInfo.processInfo.environment["CONVERT_MEGABYTES"] != nil))
    func converting() async throws {
        let megabytes = try #require(ProcessInfo.processInfo.environment["CONVERT_MEGABYTES"].flatMap { Int($0) })
        let before = try Self.peakMemory()
        let converted = try await convertDroplet(LargeDroplet(megabytes: megabytes), sink: NullSink())
        #expect(converted.summary.entries == megabytes)
        print("added KiB \(try Self.peakMemory() - before)")
    }

    /// The most memory that this process had so far, in KiB.
    private static func peakMemory() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM") })
        return try #require(line.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.first)
    }

    private func run(_ command: String, filter: String, environment: [String: String]) throws -> String {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", "exec \(command) --testing-library swift-testing --filter '\(filter)' 2>&1"]
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
            .merging(["PROGRAM": program]) { $1 }
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(text.suffix(2000))")
        return text
    }
}

/// Throws bytes away.
struct NullSink: LayerSink {
    struct Writer: LayerWriter {
        func write(_ bytes: [UInt8]) async throws {}
        func finish(digest: Digest, size: Int64) async throws {}
        func abort() async {}
    }
    func begin() async throws -> Writer { Writer() }
}

/// Files of one megabyte each.
struct LargeDroplet: AsyncSequence, Sendable {
    typealias Element = [UInt8]
    let megabytes: Int

    struct AsyncIterator: AsyncIteratorProtocol {
        let megabytes: Int
        let content = SampleDroplet.noise(1 << 20, seed: 12)
        var index = 0
        var isContent = false

        mutating func next() async -> [UInt8]? {
            if isContent {
                isContent = false
                return content
            }
            index += 1
            var tar = HandMadeTar()
            guard index <= megabytes else {
                tar.end()
                return index == megabytes + 1 ? tar.bytes : nil
            }
            isContent = true
            var header = HandMadeTar.Header("app/\(index)")
            header.size = "00004000000"
            tar.add(header)
            return tar.bytes
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(megabytes: megabytes) }
}
