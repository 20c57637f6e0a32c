/// A journal's content: each key's last change in its valid frames.
///
/// Since only a key's last change is replayed, the tree may be in any state between the last checkpoint and now.
struct JournalContents {
    private(set) var changes: [ObjectKey: JournalRecord.Change] = [:]
    /// The segments, by the numbers of their first frames, oldest first.
    private(set) var segments: [UInt64] = []
    /// Segments without a single whole frame.
    private(set) var empty: [UInt64] = []
    private(set) var nextFrame: UInt64 = 1
    /// Whether something follows the last whole frame: the remains of a flush that was interrupted.
    private(set) var hasTornTail = false

    /// Frames that had been durable and can't be read, which was accepted.
    private(set) var lost: [ClosedRange<UInt64>] = []
    private let acceptsLoss: Bool

    /// Reads all segments, one at a time.
    /// - Parameter acceptsLoss: whether to leave out frames that can't be read, which are then in `lost`.
    /// - Throws: `.io` if a frame is missing or damaged that had been durable.
    init(_ files: some FileSystem, acceptsLoss: Bool = false) throws(ObjectStoreError) {
        self.acceptsLoss = acceptsLoss
        let names = try Self.segmentNames(files)
        if let first = names.first { nextFrame = first }
        for (index, name) in names.enumerated() {
            let next = index + 1 < names.count ? names[index + 1] : nil
            let bytes = try Self.contents(of: name, files)
            let wholeFrames = try bytes.withRawBytes { (bytes) throws(ObjectStoreError) in
                try read(bytes, segment: name, next: next)
            }
            if wholeFrames > 0 { segments.append(name) } else { empty.append(name) }
        }
    }

    /// Checks that the frames are there that must be.
    /// - Throws: `.io` if one is not, unless that is accepted.
    mutating func check(_ bounds: JournalBounds.Range) throws(ObjectStoreError) {
        if segments.isEmpty { nextFrame = max(nextFrame, bounds.first) }
        guard bounds.first <= bounds.last else { return }
        guard let first = segments.first else {
            return try lose(bounds.first...bounds.last, of: "the journal")
        }
        if first > bounds.first { try lose(bounds.first...first - 1, of: "the journal") }
        if nextFrame <= bounds.last { try lose(nextFrame...bounds.last, of: StorePaths.segment(bounds.last)) }
    }

    private mutating func lose(_ frames: ClosedRange<UInt64>, of place: String) throws(ObjectStoreError) {
        guard acceptsLoss else {
            throw .io(
                """
                the journal is damaged: frame \(frames.lowerBound) of \(place) was durable once and can't be read any \
                more; restore the store's directory from a backup, or accept that what was last acknowledged is lost \
                (--accept-loss)
                """)
        }
        lost.append(frames)
    }

    private mutating func read(
        _ bytes: UnsafeRawBufferPointer, segment: UInt64, next: UInt64?
    ) throws(ObjectStoreError) -> Int {
        var offset = 0
        var count = 0
        while true {
            // Frames whose flush failed were written again to the next segment, so reading stops at that segment's
            // first frame.
            while nextFrame != next, let frame = JournalFrame(UnsafeRawBufferPointer(rebasing: bytes[offset...])),
                frame.number == nextFrame
            {
                for record in frame.records { changes[record.key] = record.change }
                nextFrame += 1
                count += 1
                offset = min(offset + frame.size, bytes.count)
            }
            if nextFrame == next { return count }
            guard let (frame, place) = durableFrame(bytes, from: offset, before: next) else { break }
            try lose(nextFrame...frame - 1, of: StorePaths.segment(segment))
            (nextFrame, offset) = (frame, place)
        }
        if let next {
            try lose(nextFrame...max(nextFrame, next - 1), of: StorePaths.segment(segment))
            nextFrame = next
        }
        return count
    }

    /// Finds the next whole frame of a segment that shows `nextFrame`, which is not where it should be, to have been
    /// durable: the last frame known to be durable, which each names, is that one or a later one.
    private mutating func durableFrame(
        _ bytes: UnsafeRawBufferPointer, from start: Int, before next: UInt64?
    ) -> (number: UInt64, offset: Int)? {
        var offset = start
        while offset < bytes.count {
            if let frame = JournalFrame(UnsafeRawBufferPointer(rebasing: bytes[offset...])) {
                if frame.durable >= nextFrame, frame.number > nextFrame, next.map({ frame.number < $0 }) ?? true {
                    return (frame.number, offset)
                }
                hasTornTail = hasTornTail || next == nil
            } else if bytes[offset] != 0 {
                hasTornTail = hasTornTail || next == nil
            }
            offset = min(offset + JournalFrame.blockSize, bytes.count)
        }
        return nil
    }

    private static func segmentNames(_ files: some FileSystem) throws(ObjectStoreError) -> [UInt64] {
        var names: [UInt64] = []
        try withStoreErrors { () throws(FileSystemError) in
            try files.entries(of: StorePaths.journal) { (name, kind) in
                guard kind == .file, name.count == 16 else { return }
                if let number = UInt64(String(decoding: name, as: UTF8.self), radix: 16) { names.append(number) }
            }
        }
        return names.sorted()
    }

    private static func contents(of segment: UInt64, _ files: some FileSystem) throws(ObjectStoreError) -> [UInt8] {
        try withStoreErrors { () throws(FileSystemError) in
            let file = try files.open(StorePaths.segment(segment), .read)
            defer { files.close(file) }
            return try files.readAll(file, size: try files.information(of: file).size)
        }
    }
}

extension FileSystem {
    /// Reads `size` bytes of a file from an offset on, fewer only if the file ends before.
    func readAll(_ file: Int32, at offset: Int64 = 0, size: Int64) throws(FileSystemError) -> [UInt8] {
        var failure: FileSystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: max(0, Int(size))) { (buffer, count) in
            do throws(FileSystemError) {
                count = try read(file, at: offset, into: UnsafeMutableRawBufferPointer(buffer))
            } catch {
                count = 0
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }
}
