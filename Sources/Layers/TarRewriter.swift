internal import Archive

/// Turns an archive into the tars of layers: checks every entry against the written rules (README.md), moves it, and
/// writes it again in canonical form. A value without I/O: it pauses for input and for blocks to write into.
struct TarRewriter {
    /// Why it stopped.
    enum Pause: Equatable {
        /// All input is taken (or too little is left): give more, or `end` it.
        case input
        /// This output needs an empty block.
        case block(Int)
        /// This output's block is full: take it.
        case full(Int)
        /// Everything is written. Blocks that are not full are still in the outputs.
        case done
    }

    private enum State {
        case reading
        /// Writing the ends of the outputs, with the directories that nothing said anything about.
        case ending(output: Int, directories: [[UInt8]])
        case done
    }

    let policy: EntryPolicy
    let limits: ConversionLimits
    private(set) var outputs: [LayerOutput] = []
    private(set) var summary = ConversionSummary()
    private(set) var observer: RootfsObserver?

    private var reader: TarReader
    private var state = State.reading
    var names = NameTable()
    /// The directory of the entry before, known to be one.
    private var lastParent: [UInt8] = []
    private var missingParents = 0
    private var outputBytes: Int64 = 0
    private var holeBytes: Int64 = 0

    /// Where the current entry goes.
    private var current = 0
    private var entryName: [UInt8] = []
    /// Headers still to be written.
    private var pending: [UInt8] = []
    private var pendingPosition = 0
    /// Zeros still to be written.
    private var zeros: Int64 = 0
    /// Content of the current entry that is still to be written.
    private var contentLeft: Int64 = 0
    private var contentPadding = 0
    /// Content at the window's position.
    private var contentInWindow = 0

    init(policy: EntryPolicy, limits: ConversionLimits, observer: RootfsObserver? = nil) {
        self.policy = policy
        self.limits = limits
        self.observer = observer
        reader = TarReader(limits: limits.reader)
        names[[]] = NameTable.Mark(kind: .impliedDirectory)
        _ = addOutput(.rest)
        outputs[0].impliedDirectories = policy.prefix.isEmpty ? [] : [[]]
    }

    /// Bytes of tar written so far.
    var writtenBytes: Int64 { outputs.reduce(0) { $0 + $1.total } }

    mutating func give(_ block: consuming [UInt8], to output: Int) { outputs[output].give(block) }

    mutating func take(from output: Int) -> (bytes: [UInt8], count: Int) { outputs[output].take() }

    /// Goes on until it needs something.
    ///
    /// - Parameters:
    ///   - window: decompressed input.
    ///   - position: how much of it is taken.
    mutating func advance(_ window: Span<UInt8>, position: inout Int) throws(ConversionError) -> Pause {
        while true {
            if pendingPosition < pending.count || zeros > 0 || contentInWindow > 0 {
                if outputs[current].wantsBlock { return .block(current) }
                write(window, &position)
                if outputs[current].isFull { return .full(current) }
                continue
            }
            switch state {
            case .reading:
                var consumed = 0
                let event: TarReader.Event
                do {
                    event = try reader.next(window.extracting(position..<window.count), consumed: &consumed)
                } catch {
                    throw ConversionError(error)
                }
                position += consumed
                switch event {
                case .needsInput: return .input
                case .entry(let entry): try begin(entry)
                case .content(let count): contentInWindow = count
                case .hole(let length): try beginHole(length)
                }
            case .ending(let output, let directories): continueEnd(output, directories)
            case .done: return .done
            }
        }
    }

    /// Says that the input has ended; then `advance` until it is done.
    mutating func end() throws(ConversionError) {
        do { try reader.finish() } catch { throw ConversionError(error) }
        state = .ending(output: 0, directories: sortedImpliedDirectories(0))
    }

    private mutating func write(_ window: Span<UInt8>, _ position: inout Int) {
        if pendingPosition < pending.count {
            let headers = pending
            pendingPosition += outputs[current].append(headers.span.extracting(pendingPosition..<headers.count))
        } else if zeros > 0 {
            zeros -= outputs[current].appendZeros(zeros)
        } else {
            let content = window.extracting(position..<position + contentInWindow)
            let count = outputs[current].append(content)
            observer?.content(content.extracting(0..<count))
            position += count
            contentInWindow -= count
            takeContent(Int64(count))
        }
    }

    private mutating func takeContent(_ count: Int64) {
        contentLeft -= count
        if contentLeft == 0 {
            zeros += Int64(contentPadding)
            observer?.endContent()
        }
    }

    private mutating func beginHole(_ length: Int64) throws(ConversionError) {
        holeBytes += length
        guard holeBytes <= limits.holeBytes else {
            throw ConversionError(.tooLarge, "the holes of sparse files are too large", entry: entryName)
        }
        observer?.hole(length)
        zeros = length
        takeContent(length)
    }
}

// MARK: - Entries

extension TarRewriter {
    private mutating func begin(_ original: TarEntry) throws(ConversionError) {
        summary.entries += 1
        guard summary.entries <= limits.entries else {
            throw ConversionError(.tooLarge, "more than \(limits.entries) entries", entry: original.name)
        }
        entryName = original.name
        let name = try clean(original.name, of: original)
        let output = try output(for: policy.group(name, isDirectory: original.kind == .directory), original)
        if (TarTime(seconds: 0)..<TarTime(seconds: 253_402_300_800)).contains(original.modified) {
            summary.newestEntry = max(summary.newestEntry ?? original.modified, original.modified)
        }
        guard let (entry, mark) = try checked(original, name, UInt16(truncatingIfNeeded: output)) else { return }
        try checkParents(name, original)
        guard try admit(name, mark, original, output) else { return }
        try observer?.entry(entry, name: name)
        try emit(entry, name, output)
    }

    private func clean(_ name: [UInt8], of entry: TarEntry) throws(ConversionError) -> [UInt8] {
        do {
            let clean = try EntryName.clean(name)
            guard policy.prefix.count + 1 + clean.count <= limits.nameLength else {
                throw ConversionError(.tooLarge, "the name is too long", entry: entry.name)
            }
            return clean
        } catch let fault as EntryName.Fault {
            throw ConversionError(.invalid, fault.reason, entry: name)
        } catch let error as ConversionError {
            throw error
        } catch {
            throw ConversionError(.invalid, "the name is not valid", entry: name)
        }
    }

    /// The entry as it will be written, but for its place.
    ///
    /// - Returns: `nil` if it is left out.
    private mutating func checked(
        _ original: TarEntry, _ name: [UInt8], _ output: UInt16
    ) throws(ConversionError) -> (TarEntry, NameTable.Mark)? {
        var entry = original
        entry.records = keptRecords(original)
        if original.mode & ~policy.modeMask != 0 { summary.notes.add(.droppedSpecialBits, original.name) }
        entry.mode = original.mode & policy.modeMask
        if let owner = policy.owner {
            entry.userID = owner.id
            entry.groupID = owner.id
        }
        entry.userName = policy.owner?.name ?? []
        entry.groupName = policy.owner?.name ?? []
        var mark = NameTable.Mark(kind: .file, mode: entry.mode)
        mark.tag = policy.owner == nil ? Self.ownerTag(entry) : output
        switch original.kind {
        case .file: break
        case .directory: mark.kind = .directory
        case .symbolicLink:
            mark.kind = .symbolicLink
            entry.mode = 0o777
            guard !original.linkName.isEmpty, !original.linkName.contains(0) else {
                throw ConversionError(.invalid, "a symbolic link without a valid target", entry: original.name)
            }
            guard original.linkName.count <= limits.nameLength else {
                throw ConversionError(.tooLarge, "the link's target is too long", entry: original.name)
            }
        case .hardLink:
            guard let link = try hardLink(original, name, &mark) else { return nil }
            entry.linkName = link
            entry.mode = mark.mode
        case .characterDevice, .blockDevice, .fifo:
            guard policy.dropsNodes else {
                throw ConversionError(.invalid, "a device or fifo", entry: original.name)
            }
            try checkParents(name, original)
            try drop(original, name)
            return nil
        }
        guard !name.isEmpty || original.kind == .directory else {
            throw ConversionError(.invalid, "the archive's root is no directory", entry: original.name)
        }
        return (entry, mark)
    }

    private mutating func keptRecords(_ entry: TarEntry) -> [TarRecord] {
        if entry.records.isEmpty { return [] }
        var kept: [TarRecord] = []
        for record in entry.records {
            if policy.keptRecords.contains(record.key) {
                kept.removeAll { $0.key == record.key }
                kept.append(record)
            } else if record.key.hasPrefix("SCHILY.xattr.") || record.key.hasPrefix("LIBARCHIVE.xattr.") {
                summary.notes.add(.droppedAttribute, entry.name, record.key)
            } else {
                summary.notes.add(.droppedRecord, entry.name, record.key)
            }
        }
        return kept
    }

    /// Checks a hard link against what it links to, and takes over its mode.
    ///
    /// - Returns: where its target ends up; `nil` if the link is left out with its target.
    private mutating func hardLink(
        _ entry: TarEntry, _ name: [UInt8], _ mark: inout NameTable.Mark
    ) throws(ConversionError) -> [UInt8]? {
        let target: [UInt8]
        do {
            target = try clean(entry.linkName, of: entry)
        } catch {
            throw ConversionError(error.fault, "the hard link's target: \(error.reason)", entry: entry.name)
        }
        guard let found = names[target], found.kind != .impliedDirectory else {
            throw ConversionError(
                .invalid, "a hard link to '\(printable(target))', which does not stand before it", entry: entry.name)
        }
        switch found.kind {
        case .file: break
        case .dropped:
            try checkParents(name, entry)
            try drop(entry, name)
            return nil
        default:
            throw ConversionError(
                .invalid, "a hard link to '\(printable(target))', which is no regular file", entry: entry.name)
        }
        if policy.splitsDependencies, found.tag != mark.tag {
            throw ConversionError(
                .crossesLayers, "a hard link to '\(printable(target))' in another layer", entry: entry.name)
        }
        mark = found
        return policy.place(target)
    }

    private mutating func drop(_ entry: TarEntry, _ name: [UInt8]) throws(ConversionError) {
        guard names[name] == nil else { throw repeated(entry) }
        names[name] = NameTable.Mark(kind: .dropped)
        summary.notes.add(.droppedNode, entry.name)
    }

    private func repeated(_ entry: TarEntry) -> ConversionError {
        ConversionError(.invalid, "the name stands in the archive twice", entry: entry.name)
    }

    /// Everything above an entry must be a directory; what has no entry so far gets one in the end.
    private mutating func checkParents(_ name: [UInt8], _ entry: TarEntry) throws(ConversionError) {
        let parent = EntryName.parent(name)
        guard !parent.elementsEqual(lastParent) else { return }
        var end = 0
        while end < parent.count {
            end += 1
            while end < parent.count, parent[end] != EntryName.slash { end += 1 }
            let above = parent[..<end]
            switch names[above]?.kind {
            case .directory, .impliedDirectory: continue
            case .symbolicLink:
                throw ConversionError(
                    .invalid, "lies below '\(printable(above))', which is a symbolic link", entry: entry.name)
            case .file, .dropped:
                throw ConversionError(
                    .invalid, "lies below '\(printable(above))', which is no directory", entry: entry.name)
            case nil: try imply(Array(above), entry)
            }
        }
        lastParent = Array(parent)
    }

    private mutating func imply(_ directory: [UInt8], _ entry: TarEntry) throws(ConversionError) {
        missingParents += 1
        guard missingParents <= limits.missingParents else {
            throw ConversionError(.tooLarge, "too many directories without an entry", entry: entry.name)
        }
        let output = try output(for: policy.group(directory, isDirectory: true), entry)
        outputs[output].impliedDirectories.insert(directory)
        names[directory] = NameTable.Mark(kind: .impliedDirectory)
    }

    /// Remembers the name.
    ///
    /// - Returns: whether the entry is to be written.
    private mutating func admit(
        _ name: [UInt8], _ mark: NameTable.Mark, _ entry: TarEntry, _ output: Int
    ) throws(ConversionError) -> Bool {
        guard let old = names[name] else {
            names[name] = mark
            return true
        }
        guard mark.kind == .directory else { throw repeated(entry) }
        switch old.kind {
        case .impliedDirectory:
            outputs[output].impliedDirectories.remove(name)
            names[name] = mark
            return true
        case .directory where old == mark:
            summary.notes.add(.droppedRepeatedDirectory, entry.name)
            return false
        case .directory:
            throw ConversionError(
                .invalid, "the directory stands in the archive twice, with different modes or owners",
                entry: entry.name)
        default: throw repeated(entry)
        }
    }

    private func printable(_ name: some Collection<UInt8>) -> String { printableName(name) }
}

// MARK: - Writing

extension TarRewriter {
    private mutating func emit(
        _ checked: TarEntry, _ name: [UInt8], _ output: Int
    ) throws(ConversionError) {
        // The root of a root filesystem is the container's: no layer says anything about it.
        if name.isEmpty, policy.prefix.isEmpty { return }
        var entry = checked
        entry.name = policy.place(name)
        if entry.kind == .directory {
            entry.name.append(EntryName.slash)
            if outputs[output].group != .rest { entry.modified = EntryPolicy.fixedTime }
        }
        if entry.isSparse { summary.notes.add(.filledHoles, entryName) }
        guard entry.size <= limits.outputBytes - outputBytes else {
            throw ConversionError(.tooLarge, "the layers are larger than allowed", entry: entryName)
        }
        outputBytes += entry.size
        select(output)
        TarWriter.append(entry, to: &pending)
        contentLeft = entry.size
        contentPadding = TarWriter.padding(entry.size)
    }

    /// Turns to an output, whose first directories may still be pending.
    private mutating func select(_ output: Int) {
        current = output
        pending.removeAll(keepingCapacity: true)
        pendingPosition = 0
        if outputs[output].total == 0, outputs[output].filled == 0 {
            for entry in policy.preamble(outputs[output].group) { TarWriter.append(entry, to: &pending) }
        }
    }

    private mutating func output(for group: LayerGroup, _ entry: TarEntry) throws(ConversionError) -> Int {
        if let index = outputs.firstIndex(where: { $0.group == group }) { return index }
        guard outputs.count <= limits.splitLayers else {
            throw ConversionError(
                .crossesLayers, "more than \(limits.splitLayers) dependencies", entry: entry.name)
        }
        return addOutput(group)
    }

    private mutating func addOutput(_ group: LayerGroup) -> Int {
        outputs.append(LayerOutput(group: group))
        return outputs.count - 1
    }

    private static func ownerTag(_ entry: TarEntry) -> UInt16 {
        UInt16(truncatingIfNeeded: entry.userID &* 31 &+ entry.groupID)
    }

    private func sortedImpliedDirectories(_ output: Int) -> [[UInt8]] {
        outputs[output].impliedDirectories.sorted { $1.lexicographicallyPrecedes($0) }
    }

    private mutating func continueEnd(_ output: Int, _ directories: [[UInt8]]) {
        guard output < outputs.count else {
            state = .done
            return
        }
        select(output)
        var directories = directories
        if let name = directories.popLast() {
            if !name.isEmpty { summary.notes.add(.addedParent, name) }
            TarWriter.append(policy.directory(policy.place(name), owner: policy.owner), to: &pending)
            state = .ending(output: output, directories: directories)
        } else {
            pending += [UInt8](repeating: 0, count: TarWriter.endLength)
            let next = output + 1
            state = .ending(
                output: next, directories: next < outputs.count ? sortedImpliedDirectories(next) : [])
        }
    }

    /// What the rewriter itself can't see.
    mutating func note(inputBytes: Int64, archiveBytes: Int64, compression: CompressionFormat) {
        summary.inputBytes = inputBytes
        summary.archiveBytes = archiveBytes
        summary.inputCompression = compression
    }
}
