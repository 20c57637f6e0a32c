public import Archive
import OCI
import Synchronization

/// An archive's decompressed bytes, pulled from a sequence of chunks of any size.
struct ArchiveSource<Input: AsyncSequence>: ~Copyable where Input.Element == [UInt8] {
    private let limits: ConversionLimits
    private var iterator: Input.AsyncIterator
    private var decompressor: Decompressor
    private var chunk: [UInt8] = []
    private var position = 0
    private(set) var inputBytes: Int64 = 0
    private(set) var archiveBytes: Int64 = 0

    init(_ input: Input, limits: ConversionLimits, memory: ArchiveMemory.Share) {
        self.limits = limits
        iterator = input.makeAsyncIterator()
        decompressor = Decompressor(
            limits.compressions, maximumWindow: limits.window, reserve: memory.reservation())
    }

    var format: CompressionFormat { decompressor.format ?? .none }

    /// Fills the window to its end with decompressed bytes, whatever sizes the chunks have.
    ///
    /// - Parameter start: how many bytes at the window's beginning are kept.
    /// - Returns: how many bytes the window holds then; fewer than it has room for only at the input's end.
    /// - Throws: `ConversionError` for a broken stream or too much input; `CancellationError`; what the input throws.
    mutating func fill(_ window: inout [UInt8], from start: Int) async throws -> Int {
        var filled = start
        while filled < window.count {
            let step = try step(into: &window, filled)
            position += step.consumed
            filled += step.produced
            archiveBytes += Int64(step.produced)
            guard step.consumed == 0, step.produced == 0 else { continue }
            guard position == chunk.count else {
                throw ConversionError(.invalid, "the compressed stream makes no progress")
            }
            guard let next = try await iterator.next() else {
                // A canceled sequence may end early instead of throwing; its bytes must not pass for a whole input.
                try Task.checkCancellation()
                do { try decompressor.finish() } catch { throw ConversionError(error) }
                break
            }
            chunk = next
            position = 0
            inputBytes += Int64(next.count)
            guard inputBytes <= limits.inputBytes else {
                throw ConversionError(.tooLarge, "the input is larger than allowed")
            }
        }
        return filled
    }

    /// Checks how far the input has grown. The larger of `written` and the decompressed bytes counts.
    ///
    /// - Parameter written: how many bytes have been made of the input so far.
    /// - Throws: `.tooLarge` past `ConversionLimits.ratio`.
    func checkRatio(written: Int64) throws(ConversionError) {
        let (allowed, overflow) = inputBytes.multipliedReportingOverflow(by: limits.ratio)
        guard overflow || max(written, archiveBytes) - limits.ratioAllowance <= allowed else {
            throw ConversionError(
                .tooLarge, "the archive grows to more than \(limits.ratio) times its compressed size")
        }
    }

    private mutating func step(
        into window: inout [UInt8], _ filled: Int
    ) throws(ConversionError) -> Decompressor.Step {
        let input = chunk
        let start = position
        let result: Result<Decompressor.Step, ArchiveError> = window.withUnsafeMutableBytes { target in
            input.withUnsafeBytes { source in
                do throws(ArchiveError) {
                    return .success(
                        try decompressor.step(
                            UnsafeRawBufferPointer(rebasing: source[start...]),
                            into: UnsafeMutableRawBufferPointer(rebasing: target[filled...])))
                } catch {
                    return .failure(error)
                }
            }
        }
        do { return try result.get() } catch { throw ConversionError(error) }
    }
}

/// A piece of an archive, as `readArchive` hands them on in the archive's order.
public enum ArchivePart: Sendable {
    case entry(TarEntry)
    /// Bytes of the last entry's content.
    case content([UInt8])
    /// So many zeros of the last entry's content, which the archive does not store.
    case hole(Int64)
}

/// Reads a tar archive, compressed as the limits allow, in one pass, a few hundred KB at a time; no rules of layers apply to it.
///
/// - Parameter limits: bound the input, its ratio, its headers and its holes. The number of entries and their sizes
///   are for the caller to bound.
/// - Throws: `ConversionError` for what is no tar, or broken; `CancellationError`; what the source or the body throws.
public func readArchive<Bytes: AsyncSequence & Sendable>(
    _ bytes: Bytes, limits: ConversionLimits, _ body: (ArchivePart) async throws -> Void
) async throws where Bytes.Element == [UInt8] {
    var scan = try LayerScan(OnePass(once: bytes), limits: limits, memory: ArchiveMemory.Share(of: limits.memory))
    while true {
        switch try await scan.next() {
        case .entry(let entry): try await body(.entry(entry))
        case .content(let range): try await body(.content(Array(scan.window[range])))
        case .hole(let length): try await body(.hole(length))
        case .end: return
        }
    }
}

/// Makes a layer source of a sequence that can be read only once, for a caller that reads it only once.
struct OnePass<Bytes: AsyncSequence & Sendable>: LayerSource where Bytes.Element == [UInt8] {
    let once: Bytes
    var diffID: Digest? { nil }

    func bytes() -> Bytes { once }
}

/// Hands values from one task to one other. `put` never waits: its users bound the number of values under way.
final class AsyncQueue<Element: Sendable>: Sendable {
    /// The queue was closed by the task at its other end.
    struct Closed: Error {}

    private struct State {
        var elements: [Element] = []
        var waiter: CheckedContinuation<Element?, Never>?
        var isClosed = false
    }

    private let state = Mutex(State())

    func put(_ element: consuming Element) {
        let element = element
        let waiter = state.withLock { state -> CheckedContinuation<Element?, Never>? in
            guard !state.isClosed else { return nil }
            guard let waiter = state.waiter else {
                state.elements.append(element)
                return nil
            }
            state.waiter = nil
            return waiter
        }
        waiter?.resume(returning: element)
    }

    /// Waits for the next value. Only one task may wait at a time.
    ///
    /// - Throws: `Closed`, or `CancellationError`.
    func take() async throws -> Element {
        try Task.checkCancellation()
        if let element = takeNow() { return element }
        let element = await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: CheckedContinuation<Element?, Never>) in
                let element = state.withLock { state -> Element?? in
                    if state.isClosed { return .some(nil) }
                    if !state.elements.isEmpty { return state.elements.removeFirst() }
                    state.waiter = waiter
                    return nil
                }
                if let element { waiter.resume(returning: element) }
            }
        } onCancel: {
            close()
        }
        guard let element else {
            try Task.checkCancellation()
            throw Closed()
        }
        return element
    }

    /// Closes the queue: drops its values, and makes the task that waits, and any later `take`, throw `Closed`.
    func close() {
        let waiter = state.withLock { state -> CheckedContinuation<Element?, Never>? in
            state.isClosed = true
            state.elements = []
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: nil)
    }

    private func takeNow() -> Element? {
        state.withLock { $0.elements.isEmpty || $0.isClosed ? nil : $0.elements.removeFirst() }
    }
}
