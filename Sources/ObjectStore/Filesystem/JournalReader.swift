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

    /// Reads all segments, one at a time.
    /// - Throws: `.io` if a frame is missing or damaged that had been durable.
    init(_ files: some FileSystem) throws(ObjectStoreError) {
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

    private mutating func read(
        _ bytes: UnsafeRawBufferPointer, segment: UInt64, next: UInt64?
    ) throws(ObjectStoreError) -> Int {
        var offset = 0
        var count = 0
        // Frames whose flush failed were written again to the next segment, so reading stops at that segment's first
        // frame.
        while nextFrame != next, let frame = JournalFrame(UnsafeRawBufferPointer(rebasing: bytes[offset...])),
            frame.number == nextFrame
        {
            for record in frame.records { changes[record.key] = record.change }
            nextFrame += 1
            count += 1
            offset = min(offset + frame.size, bytes.count)
        }
        if let next {
            guard nextFrame == next else { throw damaged(segment) }
            return count
        }
        // Each frame names the last durable frame at its time. If that is the missing one or a later one, the journal
        // is damaged.
        while offset < bytes.count {
            if let frame = JournalFrame(UnsafeRawBufferPointer(rebasing: bytes[offset...])) {
                if frame.durable >= nextFrame { throw damaged(segment) }
                hasTornTail = true
            } else if bytes[offset] != 0 {
                hasTornTail = true
            }
            offset = min(offset + JournalFrame.blockSize, bytes.count)
        }
        return count
    }

    private func damaged(_ segment: UInt64) -> ObjectStoreError {
        .io(
            """
            the journal is damaged: frame \(nextFrame) of \(StorePaths.segment(segment)) was durable once and can't be \
            read any more; restore the store from a backup, or move that file away and lose what it holds
            """)
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
