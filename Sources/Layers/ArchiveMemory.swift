public import Archive
import Synchronization

/// The budget from which all conversions under way take their memory.
///
/// Each conversion has a share of it: a fixed part for its buffers, taken when it begins, and more for the names,
/// headers, trees and files that it remembers, taken before it stores them. A conversion that finds none left fails
/// with `ConversionError.Fault.noMemory`. A share gives its memory back when its last user releases it.
public final class ArchiveMemory: Hashable, Sendable {
    /// A budget of bytes, owned by somebody else.
    public struct Source: Sendable {
        fileprivate let take: @Sendable (_ bytes: Int) -> Bool
        fileprivate let give: @Sendable (_ bytes: Int) -> Void

        /// - Parameters:
        ///   - take: takes bytes; returns false, and takes nothing, if not enough are left.
        ///   - give: gives bytes back that were taken.
        public init(
            take: @escaping @Sendable (_ bytes: Int) -> Bool, give: @escaping @Sendable (_ bytes: Int) -> Void
        ) {
            self.take = take
            self.give = give
        }
    }

    fileprivate let sources: [Source]

    /// - Parameter sources: asked in this order; the first one that has enough left gives the memory.
    public init(_ sources: [Source]) { self.sources = sources }

    public static func == (one: ArchiveMemory, other: ArchiveMemory) -> Bool { one === other }
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }

    /// The memory that one archive has taken; it is given back when the share is released.
    package final class Share: Sendable {
        private let memory: ArchiveMemory?
        /// The bytes taken from each source, by the source's index.
        private let taken: Mutex<[Int]>

        /// - Parameter memory: where the share takes from; nil: it grants everything and counts nothing.
        package init(of memory: ArchiveMemory?) {
            self.memory = memory
            taken = Mutex((memory?.sources ?? []).map { _ in 0 })
        }

        deinit {
            taken.withLock { taken in
                for (source, bytes) in zip(memory?.sources ?? [], taken) where bytes > 0 { source.give(bytes) }
            }
        }

        /// An empty share of the same memory.
        func another() -> Share { Share(of: memory) }

        /// Takes so many bytes more.
        ///
        /// - Throws: `.noMemory` if no source has them left.
        package func take(_ bytes: Int) throws(ConversionError) {
            guard hasTaken(bytes) else {
                throw ConversionError(.noMemory, "too many large archives are being taken in: try again")
            }
        }

        fileprivate func hasTaken(_ bytes: Int) -> Bool {
            guard let memory, bytes > 0 else { return true }
            return taken.withLock { taken in
                guard let index = memory.sources.firstIndex(where: { $0.take(bytes) }) else { return false }
                taken[index] += bytes
                return true
            }
        }

        package func give(_ bytes: Int) {
            guard let memory else { return }
            taken.withLock { taken in
                var left = bytes
                // The last source is the one asked when all others are used up, so it gets its bytes back first.
                for index in taken.indices.reversed() where left > 0 {
                    let part = min(left, taken[index])
                    memory.sources[index].give(part)
                    taken[index] -= part
                    left -= part
                }
            }
        }

        /// A reservation for one reader, which tells it how many bytes the reader is about to hold in all.
        package func reservation() -> Reservation {
            let held = Mutex(0)
            return { [self] bytes in
                held.withLock { held in
                    guard hasTaken(bytes - held) else { return false }
                    if bytes < held { give(held - bytes) }
                    held = bytes
                    return true
                }
            }
        }
    }
}

/// The fixed costs of a conversion's parts, in bytes, which do not depend on the archive.
enum ConversionCost {
    /// A window of decompressed bytes, the decoder, a chunk of input, and room for copies of headers in the window.
    static let reading = 1 << 20

    /// One layer's compressor, block and compressed output.
    static func layer(_ compression: CompressionFormat) -> Int {
        switch compression {
        case .none: 512 << 10
        case .gzip: 1 << 20
        // zstd keeps a window of 2 MiB and tables.
        case .zstd: 5 << 20
        }
    }

    /// The blocks on their way between the two stages of a `LayerPipeline`.
    static func pipeline(_ blocks: Int) -> Int { blocks * LayerOutput.blockSize }
}

extension ConversionLimits {
    /// How many bytes the smallest conversion takes, for callers that bound how many conversions run at once.
    public static func leastMemory(_ compression: CompressionFormat) -> Int {
        ConversionCost.reading + ConversionCost.pipeline(3) + ConversionCost.layer(compression)
    }
}
