/// Changes that are not in the tree yet: they wait for the journal's flush and then for their turn to be applied.
///
/// The tree may only hold what the journal holds durably: the kernel writes back what it likes, and a change that is on
/// disk before its record would survive a power cut that earlier changes do not. So reads ask here first.
struct PendingChanges {
    struct Entry {
        /// The last change's sequence number.
        var sequence: UInt64
        /// The sequence number of the first change that is not in the tree; the journal must keep that change.
        var since: UInt64
        var change: JournalRecord.Change
    }

    struct Below {
        var live = 0
        var gone = 0
    }

    private(set) var entries: [ObjectKey: Entry] = [:]
    private var folders: [ObjectKey: Below] = [:]
    /// The bytes of content that all pending changes keep in memory.
    private(set) var weight = 0

    subscript(key: ObjectKey) -> Entry? { entries[key] }

    /// Adds a key's change, in place of an earlier one.
    /// - Parameter since: the first change that the journal must keep, if no earlier one is pending; this change
    ///   unless given.
    /// - Returns: the change that was replaced.
    @discardableResult
    mutating func insert(
        _ record: JournalRecord, sequence: UInt64, since: UInt64? = nil
    ) -> JournalRecord.Change? {
        let old = remove(record.key)
        entries[record.key] = Entry(
            sequence: sequence, since: old?.since ?? since ?? sequence, change: record.change)
        weight += record.change.weight
        count(record.key, record.change, 1)
        return old?.change
    }

    /// Makes the journal keep everything from its beginning until this key's change is applied.
    mutating func keepJournal(for key: ObjectKey) { entries[key]?.since = 0 }

    @discardableResult
    mutating func remove(_ key: ObjectKey) -> Entry? {
        guard let entry = entries.removeValue(forKey: key) else { return nil }
        weight -= entry.change.weight
        count(key, entry.change, -1)
        return entry
    }

    private mutating func count(_ key: ObjectKey, _ change: JournalRecord.Change, _ step: Int) {
        for folder in key.folders {
            var below = folders[folder] ?? Below()
            if case .delete = change { below.gone += step } else { below.live += step }
            folders[folder] = below.live == 0 && below.gone == 0 ? nil : below
        }
    }

    /// How many keys below this one (continuing it with `/`) have a pending change that writes, or deletes, their
    /// object.
    func below(_ key: ObjectKey) -> Below { folders[key] ?? Below() }

    /// The sequence number of the first change that the journal must keep; nil if no change is pending.
    var first: UInt64? { entries.values.lazy.map(\.since).min() }
}

extension ObjectKey {
    /// The part before the last `/`; nil if there is none.
    var folder: Substring? { text.utf8.lastIndex(of: UInt8(ascii: "/")).map { text[..<$0] } }

    /// The part after the last `/`.
    var name: String {
        text.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(text[text.utf8.index(after: $0)...]) } ?? text
    }

    /// The keys that this one continues with `/`, shortest first.
    var folders: [ObjectKey] {
        var folders: [ObjectKey] = []
        for index in text.utf8.indices where text.utf8[index] == UInt8(ascii: "/") {
            folders.append(ObjectKey(valid: String(text[..<index])))
        }
        return folders
    }
}
