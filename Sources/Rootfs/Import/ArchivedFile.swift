import Blobs
import Layers
import OCI
import ObjectStore

/// A file of an image archive: small ones in memory, others staged.
enum ArchivedFile: Sendable {
    case memory([UInt8])
    case staged(StagedBlob)

    var size: Int64 {
        switch self {
        case .memory(let bytes): Int64(bytes.count)
        case .staged(let blob): blob.size
        }
    }

    /// All of a document's bytes; the caller knows that there are few.
    func bytes() async throws -> [UInt8] {
        switch self {
        case .memory(let bytes): return bytes
        case .staged(let blob):
            let reader = try await blob.open()
            let bytes = try await reader.read(at: 0, maximum: Int(blob.size))
            await reader.close()
            return bytes
        }
    }
}

/// An archived file that is a layer.
struct ArchivedLayer: LayerSource {
    let file: ArchivedFile
    let diffID: Digest?

    func bytes() -> Bytes { Bytes(layer: self) }

    struct Bytes: AsyncSequence, Sendable {
        let layer: ArchivedLayer

        func makeAsyncIterator() -> Iterator {
            switch layer.file {
            case .memory(let bytes): Iterator(memory: bytes, stored: nil)
            case .staged(let blob):
                Iterator(memory: nil, stored: StoredLayer(blob, diffID: layer.diffID).bytes().makeAsyncIterator())
            }
        }
    }

    struct Iterator: AsyncIteratorProtocol {
        var memory: [UInt8]?
        var stored: StoredLayer.Iterator?

        mutating func next() async throws -> [UInt8]? {
            if let bytes = memory {
                memory = nil
                return bytes
            }
            return try await stored?.next()
        }
    }
}
