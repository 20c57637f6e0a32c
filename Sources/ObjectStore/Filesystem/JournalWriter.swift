import Runtime

/// Appends to the journal. Only the flusher uses it.
///
/// After a failed write or flush nothing more is appended to that segment: the kernel may have dropped its dirty
/// pages, and a later flush would succeed all the same. The same records then go, under the same frame numbers, into a
/// new segment, which makes the failed frames void.
struct JournalWriter {
    struct Sealed {
        let firstFrame: UInt64
        /// The first frame that is not in it nor in an older one.
        let end: UInt64
        /// All records up to this sequence number are in this segment or in an older one.
        let lastSequence: UInt64
    }

    private struct Segment {
        let firstFrame: UInt64
        let file: Int32
        let size: Int
        /// On the monotonic clock, in nanoseconds.
        let begun: Int64
        var offset = 0
        var lastSequence: UInt64?
    }

    private let files: any FileSystem
    private let bounds: JournalBounds
    private let segmentBytes: Int
    private var segment: Segment?
    private var nextFrame: UInt64
    private var lastDurableFrame: UInt64 { nextFrame - 1 }
    /// A segment without any acknowledged frame; it must be removed before another one of its name is begun.
    private var void: UInt64?

    init(_ files: any FileSystem, _ bounds: JournalBounds, segmentBytes: Int, nextFrame: UInt64) {
        self.files = files
        self.bounds = bounds
        self.segmentBytes = segmentBytes
        self.nextFrame = nextFrame
    }

    /// Writes records and flushes them.
    /// - Parameters:
    ///   - sequence: the sequence number of the last record.
    ///   - seal: called with the segment to which nothing is appended any more, if there is one, even if this then
    ///     throws.
    /// - Throws: what failed; none of the records counts as written then.
    mutating func append(
        _ records: ArraySlice<JournalRecord>, through sequence: UInt64, seal: (Sealed) -> Void
    ) throws(FileSystemError) {
        let frames = Self.frames(of: records)
        let size = frames.reduce(0) { $0 + $1.size }
        if let segment, segment.offset + size > segment.size { self.seal(seal) }
        do {
            if segment == nil { try begin(holding: size) }
            guard let begun = segment else { return }
            var offset = begun.offset
            var number = nextFrame
            for frame in frames {
                let bytes = JournalFrame.encode(records[frame.range], number: number, durable: lastDurableFrame)
                try bytes.withRawBytes { (bytes) throws(FileSystemError) in
                    try files.write(begun.file, at: Int64(offset), bytes)
                }
                offset += bytes.count
                number += 1
            }
            if begun.offset == 0 {
                try files.sync(begun.file, dataOnly: false)
                try files.syncDirectory(StorePaths.journal)
                try bounds.hasBegun(begun.firstFrame)
            } else {
                try files.sync(begun.file, dataOnly: true)
            }
            segment?.offset = offset
            segment?.lastSequence = sequence
            nextFrame = number
        } catch {
            self.seal(seal)
            throw error
        }
    }

    /// Closes the current segment, to which nothing is appended any more.
    /// - Parameter seal: called with the segment, if it holds acknowledged records.
    mutating func seal(_ seal: (Sealed) -> Void) {
        guard let segment else { return }
        files.close(segment.file)
        if let lastSequence = segment.lastSequence {
            seal(Sealed(firstFrame: segment.firstFrame, end: nextFrame, lastSequence: lastSequence))
        } else {
            void = segment.firstFrame
        }
        self.segment = nil
    }

    private mutating func begin(holding size: Int) throws(FileSystemError) {
        if let void {
            try bounds.willRetract(void)
            try files.removeIfThere(StorePaths.segment(void))
            try files.syncDirectory(StorePaths.journal)
            self.void = nil
        }
        let size = max(segmentBytes, size)
        let file = try files.open(StorePaths.segment(nextFrame), .create)
        segment = Segment(firstFrame: nextFrame, file: file, size: size, begun: SystemClock.monotonic())
        try files.allocate(file, size: Int64(size))
    }

    /// When the current segment, if anything is in it, was begun: nanoseconds on the monotonic clock.
    var begun: Int64? { segment?.lastSequence == nil ? nil : segment?.begun }

    private static func frames(of records: ArraySlice<JournalRecord>) -> [(range: Range<Int>, size: Int)] {
        var frames: [(range: Range<Int>, size: Int)] = []
        var start = records.startIndex
        var payload = 0
        for index in records.indices {
            let size = records[index].encodedSize
            if index > start, payload + size > JournalFrame.targetSize {
                frames.append((start..<index, JournalFrame.paddedSize(payload: payload)))
                start = index
                payload = 0
            }
            payload += size
        }
        if start < records.endIndex {
            frames.append((start..<records.endIndex, JournalFrame.paddedSize(payload: payload)))
        }
        return frames
    }
}

extension FileSystem {
    func removeIfThere(_ path: String) throws(FileSystemError) {
        do { try remove(path) } catch let error where error.isMissing {}
    }
}
