internal import Archive

/// One layer's tar on its way out, cut into blocks of a fixed size.
struct LayerOutput {
    /// A multiple of what the compressor wants, so that every layer is cut alike however it is fed.
    static let blockSize = 4 * Compressor.pieceSize

    let group: LayerGroup
    /// Empty while there is none.
    private var block: [UInt8] = []
    private(set) var filled = 0
    private(set) var total: Int64 = 0

    init(group: LayerGroup) {
        self.group = group
    }

    var wantsBlock: Bool { block.isEmpty }
    var isFull: Bool { !block.isEmpty && filled == block.count }

    mutating func give(_ block: consuming [UInt8]) {
        self.block = block
        filled = 0
    }

    /// Takes the block out, full or not.
    mutating func take() -> (bytes: [UInt8], count: Int) {
        var taken: [UInt8] = []
        swap(&taken, &block)
        defer { filled = 0 }
        return (taken, filled)
    }

    /// Appends as much as fits.
    ///
    /// - Returns: how much that was.
    mutating func append(_ bytes: Span<UInt8>) -> Int {
        let count = min(bytes.count, block.count - filled)
        let start = filled
        block.withUnsafeMutableBytes { target in
            bytes.extracting(0..<count).withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(rebasing: target[start..<start + count]).copyMemory(from: source)
            }
        }
        filled += count
        total += Int64(count)
        return count
    }

    /// Appends as many zeros as fit.
    mutating func appendZeros(_ wanted: Int64) -> Int64 {
        let count = Int(min(wanted, Int64(block.count - filled)))
        let start = filled
        block.withUnsafeMutableBytes { target in
            _ = UnsafeMutableRawBufferPointer(rebasing: target[start..<start + count])
                .initializeMemory(as: UInt8.self, repeating: 0)
        }
        filled += count
        total += Int64(count)
        return Int64(count)
    }
}
