public import Archive

/// An entry of a layer that is made from memory.
public struct LayerEntry: Sendable, Hashable {
    public enum Content: Sendable, Hashable {
        case directory
        case file([UInt8])
        case symbolicLink(to: String)
        /// The name of a file earlier in the same layer.
        case hardLink(to: String)
    }

    /// Relative, without `.` and `..`.
    public var name: String
    public var content: Content
    /// Permission bits, up to 07777; links have none of their own.
    public var mode: UInt32
    public var userID: Int64
    public var groupID: Int64
    public var modified: TarTime

    public init(
        _ name: String, _ content: Content, mode: UInt32 = 0o755, userID: Int64 = 0, groupID: Int64 = 0,
        modified: TarTime = TarTime(seconds: 0)
    ) {
        self.name = name
        self.content = content
        self.mode = mode
        self.userID = userID
        self.groupID = groupID
        self.modified = modified
    }
}

/// Makes a small layer from entries in memory: the same entries give the same bytes.
///
/// Directories that have no entry of their own are added above the entries that need them (0755, root, 1970). The layer
/// goes through the same checks, writer and compressor as a root filesystem.
/// - Throws: `ConversionError` for entries against the rules, or what the sink throws.
public func buildLayer<Sink: LayerSink>(
    entries: [LayerEntry], compression: CompressionFormat = .gzip, sink: Sink
) async throws -> ConvertedLayer<Sink.Writer.Stored> {
    var settings = LayerSettings(compression: compression)
    settings.limits.ratio = .max
    let result = try await LayerPipeline(settings: settings, sink: sink)
        .run(EntryArchive(entries: withParents(entries)), policy: .rootfs, watch: nil)
    guard let layer = result.layers.first else { throw ConversionError(.invalid, "the entries gave no layer") }
    return layer
}

/// The entries in their order, with the missing directories added, each before the first entry that lies in it.
private func withParents(_ entries: [LayerEntry]) -> [LayerEntry] {
    let own = Set(entries.map { $0.name.split(separator: "/").joined(separator: "/") })
    var added: Set<String> = []
    var result: [LayerEntry] = []
    for entry in entries {
        var path = ""
        for component in entry.name.split(separator: "/").dropLast() {
            path += (path.isEmpty ? "" : "/") + component
            if !own.contains(path), added.insert(path).inserted { result.append(LayerEntry(path, .directory)) }
        }
        result.append(entry)
    }
    return result
}

/// The tar of entries, a piece at a time.
private struct EntryArchive: AsyncSequence, Sendable {
    typealias Element = [UInt8]
    let entries: [LayerEntry]

    struct AsyncIterator: AsyncIteratorProtocol {
        var entries: ArraySlice<LayerEntry>
        var isEnded = false

        mutating func next() async -> [UInt8]? {
            guard let entry = entries.popFirst() else {
                defer { isEnded = true }
                return isEnded ? nil : [UInt8](repeating: 0, count: TarWriter.endLength)
            }
            return bytes(entry)
        }

        private func bytes(_ entry: LayerEntry) -> [UInt8] {
            var tar = TarEntry(
                kind: .file, name: Array(entry.name.utf8), mode: entry.mode, userID: entry.userID,
                groupID: entry.groupID, modified: entry.modified)
            var content: [UInt8] = []
            switch entry.content {
            case .directory:
                tar.kind = .directory
                if tar.name.last != EntryName.slash { tar.name.append(EntryName.slash) }
            case .file(let bytes): content = bytes
            case .symbolicLink(let target):
                tar.kind = .symbolicLink
                tar.linkName = Array(target.utf8)
            case .hardLink(let target):
                tar.kind = .hardLink
                tar.linkName = Array(target.utf8)
            }
            tar.size = Int64(content.count)
            var bytes: [UInt8] = []
            TarWriter.append(tar, to: &bytes)
            bytes += content
            bytes += [UInt8](repeating: 0, count: TarWriter.padding(tar.size))
            return bytes
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(entries: entries[...]) }
}
