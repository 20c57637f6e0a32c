/// Unpacks a tar archive that is handed to it in pieces, as it is or compressed, into a directory.
///
/// What `DirectoryWriter` refuses or keeps out of the directory holds here, too: nothing is written through links, and
/// modes are kept but for set-user-ID and set-group-ID. Devices and pipes are left out and counted. It holds two blocks
/// of 256 KiB besides what the decoders hold, however many entries there are.
public struct TarExtractor: ~Copyable {
    private static let windowLength = 256 << 10

    /// How many bytes the archive may have, headers included.
    public let limit: Int64
    /// How many entries were left out.
    public private(set) var skipped = 0

    private var decompressor = Decompressor()
    private var reader = TarReader()
    /// What was decompressed and not read yet.
    private var window = [UInt8](repeating: 0, count: windowLength)
    private var filled = 0
    private var total: Int64 = 0
    private var isInFile = false

    /// - Parameter limit: how many bytes the archive may have, decompressed, headers included.
    public init(limit: Int64 = .max) {
        self.limit = limit
    }

    /// Takes the archive's next bytes, however many.
    ///
    /// - Throws: `ArchiveError`; the directory then holds a part of the archive.
    public mutating func take(
        _ bytes: ArraySlice<UInt8>, into writer: inout DirectoryWriter
    ) throws(ArchiveError) {
        var rest = bytes
        while true {
            let step = try decompress(rest)
            rest = rest.dropFirst(step.consumed)
            guard step.consumed > 0 || step.produced > 0 else { return }
            filled += step.produced
            total += Int64(step.produced)
            guard total <= limit else { throw .tooLarge("the archive unpacks to more than \(limit) bytes") }
            try extract(into: &writer)
        }
    }

    /// Says that the archive has ended. `DirectoryWriter.finish` is left to the caller.
    ///
    /// - Throws: `ArchiveError` if the archive is not complete.
    public mutating func finish(into writer: inout DirectoryWriter) throws(ArchiveError) {
        try take([], into: &writer)
        try decompressor.finish()
        try reader.finish()
        try endFile(&writer)
    }

    private mutating func decompress(_ bytes: ArraySlice<UInt8>) throws(ArchiveError) -> Decompressor.Step {
        let filled = filled
        return try bytes.withUnsafeBufferPointer { source throws(ArchiveError) in
            try window.withUnsafeMutableBufferPointer { target throws(ArchiveError) in
                try decompressor.step(
                    UnsafeRawBufferPointer(source),
                    into: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: target[filled...])))
            }
        }
    }

    /// Hands the window's entries to the writer. Less than a header stays in it.
    private mutating func extract(into writer: inout DirectoryWriter) throws(ArchiveError) {
        // The reader changes while the window is read, which Swift allows only for variables that are apart.
        var window: [UInt8] = []
        swap(&window, &self.window)
        defer { swap(&window, &self.window) }
        var position = 0
        while true {
            var consumed = 0
            let event = try reader.next(window.span.extracting(position..<filled), consumed: &consumed)
            position += consumed
            switch event {
            case .needsInput:
                window.replaceSubrange(0..<filled - position, with: Array(window[position..<filled]))
                return filled -= position
            case .entry(let entry):
                try endFile(&writer)
                isInFile = entry.kind == .file
                if isInFile {
                    try writer.beginFile(entry.name, mode: entry.mode, modified: entry.modified)
                } else if try !writer.make(entry) {
                    skipped += 1
                }
            case .content(let length):
                try writer.write(window[position..<position + length])
                position += length
            case .hole(let length): try writer.writeHole(length)
            }
        }
    }

    private mutating func endFile(_ writer: inout DirectoryWriter) throws(ArchiveError) {
        guard isInFile else { return }
        isInFile = false
        try writer.endFile()
    }
}

extension DirectoryWriter {
    /// Creates a directory or a link.
    ///
    /// - Returns: false for devices and pipes, which are left out, and for files, which `beginFile` begins.
    public mutating func make(_ entry: TarEntry) throws(ArchiveError) -> Bool {
        switch entry.kind {
        case .directory: try makeDirectory(entry.name, mode: entry.mode, modified: entry.modified)
        case .symbolicLink: try makeSymbolicLink(entry.name, target: entry.linkName, modified: entry.modified)
        case .hardLink: try makeHardLink(entry.name, target: entry.linkName)
        case .file, .fifo, .characterDevice, .blockDevice: return false
        }
        return true
    }

    /// Appends bytes to the file that was begun.
    public mutating func write(_ bytes: ArraySlice<UInt8>) throws(ArchiveError) {
        try bytes.withUnsafeBufferPointer { bytes throws(ArchiveError) in
            try write(UnsafeRawBufferPointer(bytes))
        }
    }
}
