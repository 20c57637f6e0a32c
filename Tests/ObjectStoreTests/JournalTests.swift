import Testing

@testable import ObjectStore

@Suite("The journal")
struct JournalTests {
    private static func record(_ key: String, _ size: Int) throws -> JournalRecord {
        JournalRecord(key: try ObjectKey(key), change: .put(bytes: [UInt8](repeating: 9, count: size), modified: 77))
    }

    /// A disk with a journal of these frames, one segment each list.
    private static func disk(_ segments: [[(number: UInt64, durable: UInt64)]]) throws -> SimulatedFileSystem {
        let files = SimulatedFileSystem()
        for directory in ["tmp", "journal", "objects"] { try files.makeDirectory(directory) }
        for segment in segments {
            let file = try files.open(StorePaths.segment(segment.first?.number ?? 1), .create)
            defer { files.close(file) }
            try files.allocate(file, size: 64 << 10)
            for (index, frame) in segment.enumerated() {
                let bytes = JournalFrame.encode(
                    [try record("k\(frame.number)", 10)], number: frame.number, durable: frame.durable)
                try bytes.withRawBytes { (bytes) throws(FileSystemError) in
                    try files.write(file, at: Int64(index * JournalFrame.blockSize), bytes)
                }
            }
        }
        return files
    }

    private static func damage(_ files: SimulatedFileSystem, segment: UInt64, frame index: Int) throws {
        let file = try files.open(StorePaths.segment(segment), .readWrite)
        defer { files.close(file) }
        try [UInt8(ascii: "!")].withRawBytes { (bytes) throws(FileSystemError) in
            try files.write(file, at: Int64(index * JournalFrame.blockSize + 120), bytes)
        }
    }

    private static func keys(_ files: SimulatedFileSystem) throws -> [String] {
        try JournalContents(files).changes.keys.map(\.text).sorted()
    }

    @Test("A frame comes back as it was written, and no damaged one does")
    func frames() throws {
        let records = [
            try Self.record("a/é", 0), try Self.record("b", 5000),
            JournalRecord(key: try ObjectKey("c"), change: .link(name: "x-1", size: 1 << 40, modified: -5)),
            JournalRecord(key: try ObjectKey("d"), change: .delete),
        ]
        let bytes = JournalFrame.encode(records, number: 12, durable: 11)
        #expect(bytes.count.isMultiple(of: JournalFrame.blockSize))
        let frame = try #require(bytes.withUnsafeBytes { JournalFrame($0) })
        #expect(frame.number == 12)
        #expect(frame.durable == 11)
        #expect(frame.size == bytes.count)
        #expect(frame.records.map { "\($0)" } == records.map { "\($0)" })
        let used = JournalFrame.headerSize + records.reduce(0) { $0 + $1.encodedSize }
        for index in 0..<used {
            var damaged = bytes
            damaged[index] ^= 0x10
            #expect(damaged.withUnsafeBytes { JournalFrame($0) } == nil, "byte \(index)")
        }
        for count in [0, 1, 50, JournalFrame.headerSize, used - 1] {
            #expect(bytes.prefix(count).withUnsafeBytes { JournalFrame($0) } == nil, "\(count) bytes")
        }
    }

    @Test("A torn tail is cut off")
    func torn() throws {
        let files = try Self.disk([[(1, 0), (2, 1), (3, 2)]])
        try Self.damage(files, segment: 1, frame: 2)
        #expect(try Self.keys(files) == ["k1", "k2"])
        #expect(try JournalContents(files).hasTornTail)
        #expect(try JournalContents(files).nextFrame == 3)
    }

    @Test("Whole frames after a torn one of the same flush are left out")
    func tornBatch() throws {
        let files = try Self.disk([[(1, 0), (2, 1), (3, 1), (4, 1)]])
        try Self.damage(files, segment: 1, frame: 1)
        #expect(try Self.keys(files) == ["k1"])
    }

    @Test("A damaged frame that had been durable is reported, with its place")
    func middle() throws {
        let files = try Self.disk([[(1, 0), (2, 1), (3, 2)]])
        try Self.damage(files, segment: 1, frame: 1)
        #expect { _ = try FilesystemObjectStore(files: files, options: .small, logger: .quiet) } throws: { error in
            guard case .io(let text)? = error as? ObjectStoreError else { return false }
            return text.contains("frame 2 of journal/0000000000000001")
        }
    }

    @Test("A damaged end of a segment that another one follows is reported")
    func segments() throws {
        let whole = try Self.disk([[(1, 0), (2, 1)], [(3, 2), (4, 3)]])
        #expect(try Self.keys(whole) == ["k1", "k2", "k3", "k4"])
        let files = try Self.disk([[(1, 0), (2, 1)], [(3, 2), (4, 3)]])
        try Self.damage(files, segment: 1, frame: 1)
        #expect(throws: ObjectStoreError.self) { _ = try JournalContents(files) }
    }

    @Test("A missing segment is reported")
    func gap() throws {
        let files = try Self.disk([[(1, 0)], [(2, 1)], [(3, 2)]])
        try files.remove(StorePaths.segment(2))
        #expect(throws: ObjectStoreError.self) { _ = try JournalContents(files) }
    }

    @Test("With the loss accepted, what can be read on both sides of damaged frames is there, and what can't is told")
    func accepted() throws {
        let files = try Self.disk([[(1, 0), (2, 1), (3, 2)], [(4, 3), (5, 4), (6, 5)]])
        for (segment, frame) in [(UInt64(1), 2), (4, 1)] { try Self.damage(files, segment: segment, frame: frame) }
        let journal = try JournalContents(files, acceptsLoss: true)
        #expect(journal.changes.keys.map(\.text).sorted() == ["k1", "k2", "k4", "k6"])
        #expect(journal.lost == [3...3, 5...5])
        #expect(journal.nextFrame == 7)
    }

    @Test("Frames whose flush failed are void once the next segment has them again")
    func void() throws {
        let files = try Self.disk([[(1, 0), (2, 1)], [(2, 1), (3, 2)]])
        let journal = try JournalContents(files)
        #expect(journal.segments == [1, 2])
        #expect(journal.nextFrame == 4)
        #expect(Set(journal.changes.keys.map(\.text)) == ["k1", "k2", "k3"])
    }

    @Test("Random bytes in a journal are an error or nothing, never a crash")
    func random() throws {
        var random = SeededRandom(seed: 4)
        for _ in 0..<300 {
            let files = try Self.disk([[(1, 0), (2, 1)], [(3, 2)]])
            let file = try files.open(StorePaths.segment([1, 3].randomElement(using: &random) ?? 1), .readWrite)
            let noise = (0..<Int.random(in: 1...200, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            let offset = Int64.random(in: 0...9000, using: &random)
            try noise.withRawBytes { (bytes) throws(FileSystemError) in try files.write(file, at: offset, bytes) }
            files.close(file)
            do {
                #expect(try Set(Self.keys(files)).isSubset(of: ["k1", "k2", "k3"]))
            } catch let error as ObjectStoreError {
                guard case .io = error else { throw error }
            }
        }
    }
}
