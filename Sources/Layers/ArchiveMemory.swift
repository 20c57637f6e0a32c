public import Archive
import Synchronization

/// Where archives that are being taken in get the memory that grows with what they hold.
///
/// Each conversion has a share of it: a fixed part for its buffers, taken when it begins, and more for names, headers,
/// trees and files that are remembered, taken before they are. A conversion that finds none left fails with
/// `ConversionError.Fault.noMemory`; its share goes back when nothing made of it is used any more.
public final class ArchiveMemory: Hashable, Sendable {
    /// A budget.
    public struct Source: Sendable {
        fileprivate let take: @Sendable (_ bytes: Int) -> Bool
        fileprivate let give: @Sendable (_ bytes: Int) -> Void

        /// - Parameters:
        ///   - take: false if there is not enough left; then nothing was taken.
        ///   - give: gives back what was taken.
        public init(
            take: @escaping @Sendable (_ bytes: Int) -> Bool, give: @escaping @Sendable (_ bytes: Int) -> Void
        ) {
            self.take = take
            self.give = give
        }
    }

    fileprivate let sources: [Source]

    /// - Parameter sources: asked in this order.
    public init(_ sources: [Source]) { self.sources = sources }

    public static func == (one: ArchiveMemory, other: ArchiveMemory) -> Bool { one === other }
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }

    /// What one archive has of it, until it is let go.
    package final class Share: Sendable {
        private let memory: ArchiveMemory?
        /// Of each source, in bytes.
        private let taken: Mutex<[Int]>

        /// - Parameter memory: nil: it is not counted.
        package init(of memory: ArchiveMemory?) {
            self.memory = memory
            taken = Mutex((memory?.sources ?? []).map { _ in 0 })
        }

        deinit {
            taken.withLock { taken in
                for (source, bytes) in zip(memory?.sources ?? [], taken) where bytes > 0 { source.give(bytes) }
            }
        }

        /// Another share of the same memory.
        func another() -> Share { Share(of: memory) }

        /// - Throws: `.noMemory` if there is not enough left.
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
                // What came from the last source is wanted there most.
                for index in taken.indices.reversed() where left > 0 {
                    let part = min(left, taken[index])
                    memory.sources[index].give(part)
                    taken[index] -= part
                    left -= part
                }
            }
        }

        /// For a reader that says how much it holds before it does.
        func reservation() -> Reservation {
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

/// What the parts of a conversion take, in bytes, whatever the archive is.
enum ConversionCost {
    /// A window of decompressed bytes, the decoder, input on its way, and what the window's next headers may be copied to.
    static let reading = 1 << 20

    /// The compressor of one layer, its block, and what comes out of it.
    static func layer(_ compression: CompressionFormat) -> Int {
        switch compression {
        case .none: 512 << 10
        case .gzip: 1 << 20
        // It keeps a window of 2 MiB and tables.
        case .zstd: 5 << 20
        }
    }

    /// Blocks on their way from one stage to the other.
    static func pipeline(_ blocks: Int) -> Int { blocks * LayerOutput.blockSize }
}

extension ConversionLimits {
    /// What a conversion of any size takes at least, in bytes: so many can go on at once as there is memory for.
    public static func leastMemory(_ compression: CompressionFormat) -> Int {
        ConversionCost.reading + ConversionCost.pipeline(3) + ConversionCost.layer(compression)
    }
}
