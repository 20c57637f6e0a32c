internal import Archive

/// An archive's decompressed bytes, pulled from a sequence of chunks of any size.
struct ArchiveSource<Input: AsyncSequence>: ~Copyable where Input.Element == [UInt8] {
    private let limits: ConversionLimits
    private var iterator: Input.AsyncIterator
    private var decompressor: Decompressor
    private var chunk: [UInt8] = []
    private var position = 0
    private(set) var inputBytes: Int64 = 0
    private(set) var archiveBytes: Int64 = 0

    init(_ input: Input, limits: ConversionLimits) {
        self.limits = limits
        iterator = input.makeAsyncIterator()
        decompressor = Decompressor(maximumWindow: limits.zstdWindow)
    }

    var format: CompressionFormat { decompressor.format ?? .none }

    /// Fills the window to its end, whatever sizes the chunks have.
    ///
    /// - Parameter start: how many bytes at its beginning are kept.
    /// - Returns: how many bytes it holds then; fewer than it has room for only at the input's end.
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
                // A cancelled sequence may just end.
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

    /// - Parameter written: what the input has become; at least its decompressed bytes count.
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
