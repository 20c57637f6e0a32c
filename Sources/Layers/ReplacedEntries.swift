import Archive

/// The entries of a droplet that later entries of the same names replace, as they do where GNU tar unpacks it.
public struct ReplacedEntries: Sendable {
    /// How many bytes are taken for each entry while they are looked for.
    private static let entryBytes = 96
    /// For how many entries memory is taken at a time.
    private static let counted = 1024

    private struct Name: Hashable {
        let hash: UInt64
        let more: UInt32
    }

    /// Counted from 1.
    private var numbers: Set<Int> = []
    /// Keeps the memory of the numbers taken for as long as this value lives.
    private var memory: ArchiveMemory.Share?

    /// No entries.
    public init() {}

    /// Reads an archive to its end.
    ///
    /// - Parameters:
    ///   - bytes: a droplet that `convertDroplet` has refused as `repeatsNames`.
    ///   - limits: as for its conversion.
    /// - Throws: `ConversionError`, `CancellationError`, what the sequence throws.
    public init<Bytes: AsyncSequence & Sendable>(
        in bytes: Bytes, limits: ConversionLimits
    ) async throws where Bytes.Element == [UInt8] {
        let memory = ArchiveMemory.Share(of: limits.memory)
        let names = NameTable()
        var last: [Name: Int] = [:]
        var count = 0
        var scan = try LayerScan(OnePass(once: bytes), limits: limits, memory: memory)
        while true {
            switch try await scan.next() {
            case .content, .hole: continue
            case .end:
                self.memory = memory
                return
            case .entry(let entry):
                count += 1
                guard count <= limits.entries else {
                    throw ConversionError(.tooLarge, "more than \(limits.entries) entries", entry: entry.name)
                }
                if count % Self.counted == 1 { try memory.take(Self.counted * Self.entryBytes) }
                // A name that no entry may have is refused by the conversion.
                guard entry.kind != .directory, let clean = try? EntryName.clean(entry.name) else { continue }
                // A hard link of a file to itself leaves the file as it is.
                if entry.kind == .hardLink, (try? EntryName.clean(entry.linkName)) == clean { continue }
                let hashes = names.hashes(clean)
                if let before = last.updateValue(count, forKey: Name(hash: hashes.0, more: hashes.1)) {
                    numbers.insert(before)
                }
            }
        }
    }

    var isEmpty: Bool { numbers.isEmpty }

    /// Whether an entry is replaced.
    ///
    /// - Parameter number: its place in the archive, counted from 1.
    func contains(_ number: Int) -> Bool { numbers.contains(number) }
}
