import Layers
import OCI
import Synchronization

/// Keeps layers in memory and remembers what became of every writer.
final class MemorySink: LayerSink {
    struct State {
        var finished: [Digest: [UInt8]] = [:]
        var begun = 0
        var aborted = 0
        var ended = 0
        var bytes: Int64 = 0
    }

    /// Fails once so many bytes were written.
    let failsAfter: Int64?
    let state = Mutex(State())

    struct Full: Error {}

    init(failsAfter: Int64? = nil) {
        self.failsAfter = failsAfter
    }

    func begin() async throws -> Writer {
        state.withLock { $0.begun += 1 }
        return Writer(sink: self)
    }

    final class Writer: LayerWriter {
        private let sink: MemorySink
        private let bytes = Mutex<[UInt8]>([])

        init(sink: MemorySink) { self.sink = sink }

        func write(_ bytes: [UInt8]) async throws {
            let total = sink.state.withLock { state in
                state.bytes += Int64(bytes.count)
                return state.bytes
            }
            if let limit = sink.failsAfter, total > limit { throw Full() }
            self.bytes.withLock { $0 += bytes }
        }

        func finish(digest: Digest, size: Int64) async throws -> Digest {
            let bytes = bytes.withLock { $0 }
            guard Digest.of(bytes) == digest, bytes.count == size else { throw Full() }
            sink.state.withLock {
                $0.ended += 1
                $0.finished[digest] = bytes
            }
            return digest
        }

        func abort() async { sink.state.withLock { $0.aborted += 1 } }
    }

    var openWriters: Int { state.withLock { $0.begun - $0.ended - $0.aborted } }
    var finishedLayers: Int { state.withLock { $0.ended } }

    func bytes(_ digest: Digest) -> [UInt8] { state.withLock { $0.finished[digest] ?? [] } }
}

/// Bytes in chunks whose sizes the caller gives, round and round.
struct Chunks: AsyncSequence, Sendable {
    typealias Element = [UInt8]
    let bytes: [UInt8]
    let sizes: [Int]

    init(_ bytes: [UInt8], sizes: [Int] = [65_536]) {
        self.bytes = bytes
        self.sizes = sizes
    }

    struct AsyncIterator: AsyncIteratorProtocol {
        let bytes: [UInt8]
        let sizes: [Int]
        var position = 0
        var turn = 0

        mutating func next() async -> [UInt8]? {
            guard position < bytes.count else { return nil }
            let end = Swift.min(bytes.count, position + sizes[turn % sizes.count])
            defer { (position, turn) = (end, turn + 1) }
            return Array(bytes[position..<end])
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(bytes: bytes, sizes: sizes) }
}
