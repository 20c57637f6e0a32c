import Archive
import Layers
import OCI
import Synchronization
import Testing

/// Never ends, and counts what was taken from it.
struct EndlessDroplet: AsyncSequence, Sendable {
    typealias Element = [UInt8]

    final class Taken: Sendable {
        let bytes = Mutex(0)
    }

    let taken = Taken()
    /// Stops giving after so many bytes, and then waits to be cancelled.
    var stallsAfter = Int.max

    struct AsyncIterator: AsyncIteratorProtocol {
        let taken: Taken
        let stallsAfter: Int
        var isFirst = true
        let noise = SampleDroplet.noise(64 << 10, seed: 5)

        mutating func next() async throws -> [UInt8]? {
            if taken.bytes.withLock({ $0 }) >= stallsAfter { try await Task.sleep(for: .seconds(3600)) }
            var chunk = noise
            if isFirst {
                var header = HandMadeTar.Header("app/endless")
                header.size = "77777777777"
                var tar = HandMadeTar()
                tar.add(header)
                chunk = tar.bytes
                isFirst = false
            }
            taken.bytes.withLock { $0 += chunk.count }
            return chunk
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(taken: taken, stallsAfter: stallsAfter) }
}

/// Takes bytes only when told to.
final class SlowSink: LayerSink {
    let gate: AsyncStream<Void>
    let open: AsyncStream<Void>.Continuation
    let inner = MemorySink()
    /// Says that a write is waiting.
    let waiting: AsyncStream<Void>
    let isWaiting: AsyncStream<Void>.Continuation

    init() {
        (gate, open) = AsyncStream.makeStream()
        (waiting, isWaiting) = AsyncStream.makeStream()
    }

    struct Writer: LayerWriter {
        let sink: SlowSink
        let inner: MemorySink.Writer

        func write(_ bytes: [UInt8]) async throws {
            sink.isWaiting.yield()
            for await _ in sink.gate { break }
            try Task.checkCancellation()
            try await inner.write(bytes)
        }
        func finish(digest: Digest, size: Int64) async throws -> Digest {
            try await inner.finish(digest: digest, size: size)
        }
        func abort() async { await inner.abort() }
    }

    func begin() async throws -> Writer { Writer(sink: self, inner: try await inner.begin()) }
}

@Suite("A conversion")
struct PipelineTests {
    struct Broken: Error {}

    @Test("pulls no more input than a few blocks while the sink takes nothing, and can be cancelled then")
    func backPressure() async {
        let droplet = EndlessDroplet()
        let sink = SlowSink()
        await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = try await convertDroplet(droplet, sink: sink) }
            for await _ in sink.waiting { break }
            // Lets the reading side go on as far as it gets.
            var last = -1
            while droplet.taken.bytes.withLock({ $0 }) != last {
                last = droplet.taken.bytes.withLock { $0 }
                for _ in 0..<200_000 { await Task.yield() }
            }
            #expect(last < 3 << 20)
            group.cancelAll()
            await #expect(throws: CancellationError.self) { try await group.next() }
        }
        #expect(sink.inner.openWriters == 0 && sink.inner.finishedLayers == 0)
    }

    @Test("is cancelled while it waits for input, and aborts its writers")
    func cancelledInput() async {
        let droplet = EndlessDroplet(stallsAfter: 3 << 20)
        let sink = MemorySink()
        await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { _ = try await convertDroplet(droplet, sink: sink) }
            while sink.state.withLock({ $0.bytes }) == 0 { await Task.yield() }
            group.cancelAll()
            await #expect(throws: CancellationError.self) { try await group.next() }
        }
        #expect(sink.state.withLock { $0.begun } == 1)
        #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
    }

    @Test("ends with the sink's own error, though the input never ends", arguments: [1, 1 << 20] as [Int64])
    func sinkFails(_ bytes: Int64) async throws {
        let sink = MemorySink(failsAfter: bytes)
        await #expect(throws: MemorySink.Full.self) {
            try await convertDroplet(EndlessDroplet(), sink: sink)
        }
        #expect(sink.openWriters == 0)
    }

    @Test("ends with the sink's own error, though the input stalls for ever")
    func sinkFailsWhileInputStalls() async throws {
        let sink = MemorySink(failsAfter: 1)
        await #expect(throws: MemorySink.Full.self) {
            try await convertDroplet(EndlessDroplet(stallsAfter: 4 << 20), sink: sink)
        }
        #expect(sink.openWriters == 0)
    }

    @Test("ends with the input's own error")
    func inputFails() async throws {
        struct Failing: AsyncSequence, Sendable {
            typealias Element = [UInt8]
            struct AsyncIterator: AsyncIteratorProtocol {
                var left = 40
                mutating func next() async throws -> [UInt8]? {
                    left -= 1
                    guard left > 0 else { throw Broken() }
                    return left == 39 ? Array(LimitTests.megabyte.prefix(512)) : [UInt8](repeating: 0, count: 20_000)
                }
            }
            func makeAsyncIterator() -> AsyncIterator { AsyncIterator() }
        }
        let sink = MemorySink()
        await #expect(throws: Broken.self) { try await convertDroplet(Failing(), sink: sink) }
        #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
    }

    @Test("of an archive without entries is refused")
    func empty() async throws {
        for archive in [HandMadeTar.make { _ in }, HandMadeTar.make { $0.add(HandMadeTar.Header("label", type: "V")) }]
        {
            let sink = MemorySink()
            let error = await #expect(throws: ConversionError.self) {
                try await convertDroplet(Chunks(archive), sink: sink)
            }
            #expect(error?.fault == .invalid && error?.reason.contains("no entries") == true)
            #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
        }
    }

    @Test("of nothing but the root directory gives one layer with the directories above nothing")
    func rootOnly() async throws {
        let sink = MemorySink()
        let converted = try await convertDroplet(Chunks(HandMadeTar.make { $0.directory("./") }), sink: sink)
        let entries = try entries(of: decompressed(sink.bytes(converted.layers[0].stored)))
        #expect(entries.map { String(decoding: $0.name, as: UTF8.self) } == ["home/", "home/vcap/"])
        #expect(entries.map(\.mode) == [0o755, 0o755])
        #expect(entries.map(\.userID) == [0, 2000])
    }

    @Test("of nothing at all is refused")
    func nothing() async throws {
        let error = await #expect(throws: ConversionError.self) {
            try await convertDroplet(Chunks([]), sink: MemorySink())
        }
        #expect(error?.fault == .invalid)
    }

    @Test("takes directories that come after what lies in them")
    func depthFirst() async throws {
        let tar = HandMadeTar.make { tar in
            tar.file("a/b/c")
            tar.directory("a/b", mode: "0000700")
            tar.directory("a", mode: "0000711")
            tar.directory(".", mode: "0000750")
            tar.file("x/y")
        }
        let sink = MemorySink()
        let converted = try await convertDroplet(Chunks(tar), sink: sink)
        let entries = try entries(of: decompressed(sink.bytes(converted.layers[0].stored)))
        #expect(
            entries.map { "\(String(decoding: $0.name, as: UTF8.self)) \(String($0.mode, radix: 8))" } == [
                "home/ 755", "home/vcap/a/b/c 644", "home/vcap/a/b/ 700", "home/vcap/a/ 711", "home/vcap/ 750",
                "home/vcap/x/y 644", "home/vcap/x/ 755",
            ])
    }
}
