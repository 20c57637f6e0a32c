import Archive
import OCI

/// The two stages of a conversion, which overlap on two cores: one inflates, rewrites and hashes the tars; the other
/// compresses, hashes and writes to the sink. They pass on a small number of blocks of a fixed size: the first stage
/// waits for a free one, which slows the input down to the sink's pace.
struct LayerPipeline<Sink: LayerSink>: Sendable {
    typealias Layer = ConvertedLayer<Sink.Writer.Stored>

    struct Result: Sendable {
        var layers: [Layer]
        var summary: ConversionSummary
        var findings: RootfsFindings?
        /// Keeps the memory of `findings` taken for as long as this value lives.
        let memory: ArchiveMemory.Share
    }

    private enum Message: Sendable {
        case block(output: Int, [UInt8])
        case last(output: Int, [UInt8], count: Int, LayerGroup, diffID: Digest, total: Int64)
        /// All of the input was read and is valid: the layers may be finished.
        case end
    }

    private enum Outcome: Sendable {
        case read(ConversionSummary, RootfsFindings?)
        case written([Layer])
    }

    /// How many blocks are under way, besides the one that each layer may hold.
    private static var blocksUnderWay: Int { 3 }
    private static var windowSize: Int { 256 << 10 }

    let settings: LayerSettings
    let sink: Sink
    private let filled = AsyncQueue<Message>()
    private let free = AsyncQueue<[UInt8]>()

    init(settings: LayerSettings, sink: Sink) {
        self.settings = settings
        self.sink = sink
    }

    func run<Input: AsyncSequence & Sendable>(
        _ input: Input, policy: EntryPolicy, watch: RootfsWatch?, replaced: ReplacedEntries = ReplacedEntries()
    ) async throws -> Result where Input.Element == [UInt8] {
        let memory = ArchiveMemory.Share(of: settings.limits.memory)
        // The fixed memory is taken first, so that nothing of the input is read in vain if there is none.
        try memory.take(ConversionCost.reading + ConversionCost.pipeline(Self.blocksUnderWay))
        return try await withThrowingTaskGroup(of: Outcome.self) { group in
            group.addTask { try await read(input, policy: policy, watch: watch, replaced, memory) }
            group.addTask { .written(try await write()) }
            var result = Result(layers: [], summary: ConversionSummary(), findings: nil, memory: memory)
            var failure: (any Error)?
            while let outcome = await group.nextResult() {
                switch outcome {
                case .success(.read(let summary, let findings)):
                    result.summary = summary
                    result.findings = findings
                case .success(.written(let layers)): result.layers = layers
                case .failure(let error):
                    // `Closed` only says that the other stage has stopped; the other stage's error is the reason.
                    if failure == nil || failure is AsyncQueue<Message>.Closed || failure is AsyncQueue<[UInt8]>.Closed
                    {
                        failure = error
                    }
                    group.cancelAll()
                }
            }
            if let failure { throw failure }
            return result
        }
    }

    /// The reading stage's state of the tars that it writes.
    private struct Tars {
        var hashers: [DigestHasher] = []
        var blocks = 0
        /// How many layers memory has been taken for.
        var layers = 0
    }
}

// MARK: - Reading

extension LayerPipeline {
    private func read<Input: AsyncSequence>(
        _ input: Input, policy: EntryPolicy, watch: RootfsWatch?, _ replaced: ReplacedEntries,
        _ memory: ArchiveMemory.Share
    ) async throws -> Outcome where Input.Element == [UInt8] {
        do {
            var source = ArchiveSource(input, limits: settings.limits, memory: memory)
            var rewriter = TarRewriter(
                policy: policy, limits: settings.limits, replaced: replaced, memory: memory,
                observer: watch.map { RootfsObserver($0, memory: memory) })
            var tars = Tars()
            var window = [UInt8](repeating: 0, count: Self.windowSize)
            var kept = 0
            while true {
                let count = try await source.fill(&window, from: kept)
                var position = 0
                try await advance(&rewriter, window, count, &position, &tars, memory)
                try source.checkRatio(written: rewriter.writtenBytes)
                guard count == window.count else { break }
                kept = count - position
                if position > 0, kept > 0 {
                    for index in 0..<kept { window[index] = window[position + index] }
                }
            }
            try rewriter.end()
            var position = 0
            try await advance(&rewriter, [], 0, &position, &tars, memory)
            for index in rewriter.outputs.indices { finish(&rewriter, index, &tars) }
            filled.put(.end)
            var summary = ConversionSummary()
            summary.newestEntry = rewriter.rules.newest
            summary.entries = rewriter.rules.count
            summary.inputBytes = source.inputBytes
            summary.archiveBytes = source.archiveBytes
            summary.inputCompression = source.format
            summary.notes = rewriter.rules.notes
            return .read(summary, rewriter.observer?.findings(rewriter.rules.names))
        } catch {
            filled.close()
            throw error
        }
    }

    private func advance(
        _ rewriter: inout TarRewriter, _ window: [UInt8], _ count: Int, _ position: inout Int,
        _ tars: inout Tars, _ memory: ArchiveMemory.Share
    ) async throws {
        while true {
            switch try step(&rewriter, window, count, &position) {
            case .input, .done: return
            case .block(let output):
                if let block = try newBlock(&rewriter, &tars, memory) {
                    rewriter.give(block, to: output)
                } else {
                    rewriter.give(try await free.take(), to: output)
                }
            case .full(let output):
                let block = rewriter.take(from: output).bytes
                hash(block, block.count, output, &tars)
                filled.put(.block(output: output, block))
                await Task.yield()
            }
        }
    }

    /// A function of its own, since a span that lives in a function which suspends makes the optimizer fail.
    private func step(
        _ rewriter: inout TarRewriter, _ window: [UInt8], _ count: Int, _ position: inout Int
    ) throws(ConversionError) -> TarRewriter.Pause {
        try rewriter.advance(window.span.extracting(0..<count), position: &position)
    }

    /// - Returns: nil if all blocks that there may be are under way.
    private func newBlock(
        _ rewriter: inout TarRewriter, _ tars: inout Tars, _ memory: ArchiveMemory.Share
    ) throws -> [UInt8]? {
        while tars.layers < rewriter.outputs.count {
            try memory.take(ConversionCost.layer(settings.compression))
            tars.layers += 1
        }
        guard tars.blocks < rewriter.outputs.count + Self.blocksUnderWay else { return nil }
        tars.blocks += 1
        return [UInt8](repeating: 0, count: LayerOutput.blockSize)
    }

    private func hash(_ block: [UInt8], _ count: Int, _ output: Int, _ tars: inout Tars) {
        while tars.hashers.count <= output { tars.hashers.append(DigestHasher(.sha256)) }
        block.withUnsafeBytes { tars.hashers[output].update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }

    private func finish(_ rewriter: inout TarRewriter, _ index: Int, _ tars: inout Tars) {
        let (block, count) = rewriter.take(from: index)
        hash(block, count, index, &tars)
        let output = rewriter.outputs[index]
        filled.put(
            .last(
                output: index, block, count: count, output.group, diffID: tars.hashers[index].finish(),
                total: output.total))
    }
}

// MARK: - Writing

extension LayerPipeline {
    private typealias Ending = (LayerGroup, diffID: Digest, total: Int64)

    private func write() async throws -> [Layer] {
        var open: [Int: LayerEncoder<Sink.Writer>] = [:]
        var endings: [Int: Ending] = [:]
        var layers: [Layer] = []
        do {
            receiving: while true {
                switch try await filled.take() {
                case .block(let output, let block):
                    let encoder = try await encoder(output, &open)
                    let bytes = try encoder.compress(block, count: block.count, isLast: false)
                    free.put(consume block)
                    try await encoder.write(bytes)
                    await Task.yield()
                case .last(let output, let block, let count, let group, let diffID, let total):
                    let encoder = try await encoder(output, &open)
                    try await encoder.write(try encoder.compress(block, count: count, isLast: true))
                    endings[output] = (group, diffID, total)
                case .end: break receiving
                }
            }
            for (output, ending) in endings.sorted(by: { $0.value.0.precedes($1.value.0) }) {
                guard let encoder = open.removeValue(forKey: output) else { continue }
                layers.append(try await encoder.finish(ending.0, diffID: ending.diffID, total: ending.total))
            }
            return layers
        } catch {
            free.close()
            for encoder in open.values { await encoder.abort() }
            throw error
        }
    }

    private func encoder(
        _ output: Int, _ open: inout [Int: LayerEncoder<Sink.Writer>]
    ) async throws -> LayerEncoder<Sink.Writer> {
        if let encoder = open[output] { return encoder }
        let compressor = try Compressor(settings.compression, level: settings.level)
        let encoder = LayerEncoder(settings.compression, compressor, try await sink.begin())
        open[output] = encoder
        return encoder
    }
}

extension LayerGroup {
    /// Bottom up: dependencies by index, then the rest.
    fileprivate func precedes(_ other: LayerGroup) -> Bool {
        switch (self, other) {
        case (.rest, _): false
        case (.dependency, .rest): true
        case (.dependency(let one), .dependency(let two)):
            (one.utf8.count, one) < (two.utf8.count, two)
        }
    }
}
