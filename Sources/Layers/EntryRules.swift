import Archive

/// Applies the written rules (Layers.docc): decides for each entry in turn whether it is kept, left out or refused,
/// which layer it belongs to, and what it becomes there.
struct EntryRules {
    /// An entry as it is written, and where.
    struct Placed {
        var entry: TarEntry
        /// An index of `groups`.
        var group: Int
        /// The clean name in the archive, without the policy's prefix.
        var name: [UInt8]
    }

    /// For how many entries memory is taken at a time.
    private static let counted = 1024
    /// How many bytes are taken for each entry: its slot in `names`, free slots beside it, and outgrown tables, whose
    /// memory the allocator can't always use again.
    private static let entryBytes = 64
    /// How many bytes are taken for each implied directory, besides its name.
    private static let impliedBytes = 96

    /// The user and group ids that there are. For chown(2), 2^32 - 1 means "as it is", which would be root's.
    private static let ids: Range<Int64> = 0..<4_294_967_295

    let policy: EntryPolicy
    private let limits: ConversionLimits
    private let replaced: ReplacedEntries
    private let memory: ArchiveMemory.Share
    /// The layers, in the order of their first entries; `rest` is always the first.
    private(set) var groups: [LayerGroup] = [.rest]
    /// For each layer, the clean names of the directories that have had no entry so far.
    private var implied: [Set<[UInt8]>] = [[]]
    private(set) var names = NameTable()
    private(set) var notes = ConversionNotes()
    private(set) var newest: TarTime?
    private(set) var count = 0
    /// The parent of the entry before, which has been found to be a directory.
    private var lastParent: [UInt8] = []
    private var missingParents = 0

    init(
        policy: EntryPolicy, limits: ConversionLimits, replaced: ReplacedEntries = ReplacedEntries(),
        memory: ArchiveMemory.Share
    ) {
        self.policy = policy
        self.replaced = replaced
        self.limits = limits
        self.memory = memory
        names[[]] = NameTable.Mark(kind: .impliedDirectory)
        if !policy.prefix.isEmpty { implied[0].insert([]) }
    }

    /// Applies the rules to the archive's next entry.
    ///
    /// - Returns: `nil` if the entry is left out.
    /// - Throws: `ConversionError` if the archive is refused because of it.
    mutating func place(_ original: TarEntry) throws(ConversionError) -> Placed? {
        count += 1
        guard count <= limits.entries else {
            throw ConversionError(.tooLarge, "more than \(limits.entries) entries", entry: original.name)
        }
        if count % Self.counted == 1 { try memory.take(Self.counted * Self.entryBytes) }
        let name = try clean(original.name, of: original)
        guard !replaced.contains(count) else {
            notes.add(.droppedReplacedEntry, original.name)
            return nil
        }
        let group = try group(policy.group(name, isDirectory: original.kind == .directory), original)
        if (TarTime(seconds: 0)..<TarTime(seconds: 253_402_300_800)).contains(original.modified) {
            newest = max(newest ?? original.modified, original.modified)
        }
        let checked = try checked(original, name, UInt16(truncatingIfNeeded: group))
        guard case (var entry, let mark)? = checked else { return nil }
        try checkParents(name, original)
        guard try admit(name, mark, original, group) else { return nil }
        // The container runtime makes the root directory of a root filesystem, so its layer has no entry for it.
        if name.isEmpty, policy.prefix.isEmpty { return nil }
        if entry.isSparse { notes.add(.filledHoles, original.name) }
        entry.name = policy.place(name)
        if entry.kind == .directory {
            entry.name.append(EntryName.slash)
            if groups[group] != .rest { entry.modified = EntryPolicy.fixedTime }
        }
        return Placed(entry: entry, group: group, name: name)
    }

    /// The clean names of a layer's directories for which no entry came, parents first. Adds a note for each of them.
    mutating func missingDirectories(_ group: Int) -> [[UInt8]] {
        let names = implied[group].sorted { $0.lexicographicallyPrecedes($1) }
        for name in names where !name.isEmpty { notes.add(.addedParent, name) }
        return names
    }

    /// The entry that a missing directory gets.
    func missingDirectory(_ name: [UInt8]) -> TarEntry {
        policy.directory(policy.place(name), owner: policy.owner)
    }
}

extension EntryRules {
    private func clean(_ name: [UInt8], of entry: TarEntry) throws(ConversionError) -> [UInt8] {
        let clean: [UInt8]
        do { clean = try EntryName.clean(name) } catch {
            throw ConversionError(.invalid, error.reason, entry: entry.name)
        }
        guard policy.prefix.count + 1 + clean.count <= limits.nameLength else {
            throw tooLong("name", policy.prefix.count + 1 + clean.count, entry)
        }
        return clean
    }

    private func tooLong(_ what: String, _ length: Int, _ entry: TarEntry) -> ConversionError {
        ConversionError(
            .tooLarge,
            "the \(what) is too long: it has \(length) bytes in the image, and may have \(limits.nameLength), since "
                + "container runtimes put a directory of their own in front, and Linux takes 4095 in all",
            entry: entry.name)
    }

    /// The entry as it will be written, but under its old name, and the mark by which its name is remembered.
    ///
    /// - Returns: `nil` if it is left out.
    private mutating func checked(
        _ original: TarEntry, _ name: [UInt8], _ group: UInt16
    ) throws(ConversionError) -> (TarEntry, NameTable.Mark)? {
        var entry = original
        entry.records = keptRecords(original)
        if original.mode & ~policy.modeMask != 0 { notes.add(.droppedSpecialBits, original.name) }
        entry.mode = original.mode & policy.modeMask
        if let owner = policy.owner {
            entry.userID = owner.id
            entry.groupID = owner.id
        } else if !Self.ids.contains(entry.userID) || !Self.ids.contains(entry.groupID) {
            throw ConversionError(.invalid, "an owner that no system has", entry: original.name)
        }
        entry.userName = policy.owner?.name ?? []
        entry.groupName = policy.owner?.name ?? []
        var mark = NameTable.Mark(kind: .file, mode: entry.mode)
        mark.tag = policy.owner == nil ? Self.ownerTag(entry) : group
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
                throw tooLong("link's target", original.linkName.count, original)
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
                notes.add(.droppedAttribute, entry.name, record.key)
            } else {
                notes.add(.droppedRecord, entry.name, record.key)
            }
        }
        return kept
    }

    /// Checks a hard link's target, and gives the link the target's mark, mode included.
    ///
    /// - Returns: the target's name as it is written; `nil` if the link is left out because its target was.
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
            let why =
                replaced.isEmpty
                ? "does not stand before it"
                : "does not stand before it, or is replaced by a later entry: unpack it with GNU tar and pack it anew"
            throw ConversionError(
                .invalid, "a hard link to '\(printable(target))', which \(why)", entry: entry.name)
        }
        switch found.kind {
        case .file where target == name, .symbolicLink where target == name:
            // GNU tar writes that where it is told to pack a file twice, as `tar -c app app/file` does.
            notes.add(.droppedSelfLink, entry.name)
            return nil
        case .file, .symbolicLink: break
        case .dropped:
            try checkParents(name, entry)
            try drop(entry, name)
            return nil
        default:
            throw ConversionError(
                .invalid, "a hard link to '\(printable(target))', which is a directory", entry: entry.name)
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
        notes.add(.droppedNode, entry.name)
    }

    private func repeated(_ entry: TarEntry, _ fault: ConversionError.Fault = .invalid) -> ConversionError {
        ConversionError(
            fault, "the name stands in the archive twice: unpack it with GNU tar and pack it anew", entry: entry.name)
    }

    /// Checks that everything above an entry is a directory. A name that has had no entry is taken for a directory, and
    /// gets an entry in the end unless the archive still has one.
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
        try memory.take(directory.count + Self.impliedBytes)
        let group = try group(policy.group(directory, isDirectory: true), entry)
        implied[group].insert(directory)
        names[directory] = NameTable.Mark(kind: .impliedDirectory)
    }

    /// Remembers an entry's name.
    ///
    /// - Returns: whether the entry is to be written; not so for a directory that comes again unchanged.
    /// - Throws: `ConversionError` for any other name that comes twice.
    private mutating func admit(
        _ name: [UInt8], _ mark: NameTable.Mark, _ entry: TarEntry, _ group: Int
    ) throws(ConversionError) -> Bool {
        guard let old = names[name] else {
            names[name] = mark
            return true
        }
        guard mark.kind == .directory else {
            throw repeated(entry, old.kind == .file || old.kind == .symbolicLink ? .repeatsNames : .invalid)
        }
        switch old.kind {
        case .impliedDirectory:
            implied[group].remove(name)
            names[name] = mark
            return true
        case .directory where old == mark:
            notes.add(.droppedRepeatedDirectory, entry.name)
            return false
        case .directory:
            throw ConversionError(
                .invalid,
                "the directory stands in the archive twice, with different modes or owners: unpack it with GNU tar and "
                    + "pack it anew",
                entry: entry.name)
        default: throw repeated(entry)
        }
    }

    private func printable(_ name: some Collection<UInt8>) -> String { printableName(name) }

    private mutating func group(_ group: LayerGroup, _ entry: TarEntry) throws(ConversionError) -> Int {
        if let index = groups.firstIndex(of: group) { return index }
        guard groups.count <= limits.splitLayers else {
            throw ConversionError(
                .crossesLayers, "more than \(limits.splitLayers) dependencies", entry: entry.name)
        }
        groups.append(group)
        implied.append([])
        return groups.count - 1
    }

    private static func ownerTag(_ entry: TarEntry) -> UInt16 {
        // A hash that spreads: with a small factor neighboring owners, such as 0:31 and 1:0, would be equal.
        let mixed = UInt64(bitPattern: entry.userID) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(bitPattern: entry.groupID)
        return UInt16(truncatingIfNeeded: (mixed &* 0xD6E8_FEB8_6659_FD93) >> 48)
    }
}
