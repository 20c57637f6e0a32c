internal import Archive
internal import OCI

extension FileTree {
    /// The most layers of a chain.
    static let maximumLayers = 127

    /// Reads the tree that a chain of layers makes, whiteouts applied: each layer once, contents hashed as they go by.
    ///
    /// - Parameters:
    ///   - layers: bottom up.
    ///   - limits: for each of the layers; names and contents of all of them together count too.
    /// - Throws: `ConversionError` for a layer that is broken, against the rules (README.md of this module, "Deltas") or
    ///   over a limit; `CancellationError`; what a source throws.
    public init(reading layers: [some LayerSource], limits: ConversionLimits = ConversionLimits()) async throws {
        try await self.init(reading: layers, limits: limits, nodes: .refused)
    }

    /// What becomes of devices and fifos.
    enum Nodes: Sendable {
        case refused
        case kept
    }

    init(reading layers: [some LayerSource], limits: ConversionLimits, nodes: Nodes) async throws {
        self.init()
        for layer in layers { try await add(layer, limits: limits, nodes: nodes) }
    }

    /// Puts one more layer on top.
    mutating func add<Source: LayerSource>(
        _ layer: Source, limits: ConversionLimits, nodes: Nodes = .refused
    ) async throws {
        guard layers < Self.maximumLayers else {
            throw ConversionError(.tooLarge, "more than \(Self.maximumLayers) layers")
        }
        var scan = LayerScan(layer, limits: limits)
        var application = LayerApplication(over: self, limits: limits, nodes: nodes)
        // Else the index would be copied with the first change.
        self = FileTree()
        var hasher = DigestHasher(.sha256)
        var left: Int64 = 0
        reading: while true {
            switch try await scan.next() {
            case .entry(let entry):
                try application.apply(entry)
                left = application.open == nil ? 0 : entry.size
                hasher = DigestHasher(.sha256)
            case .content(let range):
                scan.window.withUnsafeBytes { hasher.update(UnsafeRawBufferPointer(rebasing: $0[range])) }
                left -= Int64(range.count)
            case .hole(let length):
                hasher.update(zeros: length)
                left -= length
            case .end: break reading
            }
            if left == 0, application.open != nil { application.setContent(ContentDigest(hasher)) }
        }
        self = application.finish()
    }
}

extension DigestHasher {
    fileprivate mutating func update(zeros count: Int64) {
        let zeros = [UInt8](repeating: 0, count: Int(min(count, 1 << 16)))
        var left = count
        while left > 0 {
            let part = Int(min(left, Int64(zeros.count)))
            zeros.withUnsafeBytes { update(UnsafeRawBufferPointer(rebasing: $0[..<part])) }
            left -= Int64(part)
        }
    }
}
