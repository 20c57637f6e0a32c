internal import OCI

/// What one task writes as a layer, and another reads as an archive. Only a few blocks are on their way.
final class LayerPipe: LayerSink, LayerWriter, AsyncSequence {
    typealias Element = [UInt8]
    private static let blocksUnderWay = 4

    private let filled = AsyncQueue<[UInt8]?>()
    private let room = AsyncQueue<Void>()

    init() {
        for _ in 0..<Self.blocksUnderWay { room.put(()) }
    }

    func begin() async throws -> LayerPipe { self }

    func write(_ bytes: [UInt8]) async throws {
        try await room.take()
        filled.put(bytes)
    }

    func finish(digest: Digest, size: Int64) async throws { filled.put(nil) }

    func abort() async { filled.close() }

    /// The reader will take no more.
    func stop() { room.close() }

    func makeAsyncIterator() -> Iterator { Iterator(pipe: self) }

    struct Iterator: AsyncIteratorProtocol {
        let pipe: LayerPipe

        func next() async throws -> [UInt8]? {
            let bytes = try await pipe.filled.take()
            pipe.room.put(())
            return bytes
        }
    }
}
