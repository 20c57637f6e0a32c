import Logging
import ObjectStore
import Records
import Runtime
import Synchronization

// A stack's record in the store, and the form that earlier versions of Cistern wrote.

extension RootfsCatalog {
    /// Migrates the records of stacks to the form that this version of Cistern writes and earlier ones can't read; a
    /// warning is logged before the first write. A stack that can't be migrated now is read in the old form, and
    /// migrated by its next change.
    ///
    /// The record is swapped first, with the states of all old objects; these are removed once the record is durable.
    /// So what an interruption leaves says the same as the record, and the next start goes on.
    /// - Throws: `.cancelled`.
    public func migrate() async throws(ImageError) {
        let stacks = state.withLock { $0.stacks.filter { $0.value.needsMigration }.keys }
        guard !stacks.isEmpty else { return }
        logger?.warning(
            """
            what is current and which versions are blocked is now written in a form that earlier versions of Cistern \
            can't read: don't start one on this store again, and go back only to a copy that was made before
            """, metadata: ["stacks": "\(stacks.map(\.text).sorted().joined(separator: " "))"])
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            for stack in stacks.sorted(by: { $0.text < $1.text }) {
                do throws(ImageError) {
                    try await update(stack, replacingDamaged: false) { (_, _) throws(ImageError) in }
                    try await removeFormerStates(of: stack)
                } catch {
                    if case .cancelled = error { throw error }
                    logger?.error(
                        "a stack is not migrated yet: the next change of it, or the next start, tries again",
                        metadata: ["stack": "\(stack)", "error": "\(error)"])
                }
            }
        }
    }

    /// Whether a version that this process knows is still stored. Called after the stack's record was read: another
    /// process that removes the version later changes the record first, so this process' write fails.
    func isStored(_ stack: StackName, _ version: VersionName) async throws(ImageError) -> Bool {
        for variant in try versions(stack) where variant.version == version {
            let key: ObjectKey
            do { key = try RootfsVersion.key(stack, version, variant.architecture) } catch { throw .store(error) }
            if try await records.isThere(key) { return true }
        }
        return false
    }

    /// - Throws: `.unknownStack`, `.unknownVersion`.
    func requireStored(_ stack: StackName, _ version: VersionName) async throws(ImageError) {
        guard try await isStored(stack, version) else { throw .unknownVersion(stack, version) }
    }

    /// Changes a stack's record with one conditional write, durable on return. The caller holds `changes`.
    /// - Parameter body: changes the record, or throws to leave it as it is; may be called several times. Its second
    ///   argument names the versions whose state is unknown, which are blocked in the record.
    @discardableResult
    func update(
        _ stack: StackName, replacingDamaged: Bool = true,
        _ body: (inout StackRecord, _ unknown: Set<VersionName>) async throws(ImageError) -> Void
    ) async throws(ImageError) -> StackRecord {
        let known = state.withLock { $0.stacks[stack] } ?? StackKnowledge()
        var isLost = false
        let stored = try await records.update(
            try recordKey(stack), as: StackRecord.self, replacingDamaged: replacingDamaged
        ) { (found) throws(ImageError) in
            // The stored record is newer than this process knows: the answer to its last write was lost, or another
            // process wrote.
            if let found = found?.value, found != known.record {
                try await records.sync()
                remember(found, of: stack)
            }
            var (record, unknown) = try await begin(stack, found?.value, known)
            isLost = !unknown.isEmpty
            try await body(&record, unknown)
            return record == found?.value ?? StackRecord() ? .keep : .write(record)
        }
        // The record is durable before the promotion is visible here, so that no image is served that a restart would
        // undo.
        try await records.sync()
        guard let record = stored?.value else { return StackRecord() }
        remember(record, of: stack)
        if isLost {
            logger?.error(
                "what was said of a stack's versions is lost: they are blocked until something is said of them",
                metadata: ["stack": "\(stack)"])
        }
        // A failure does no harm: the objects say the same as the record, and the next change tries again.
        do throws(ImageError) { try await removeFormerStates(of: stack) } catch {
            logger?.warning(
                "states in the form of before can't be removed; the next change tries again",
                metadata: ["stack": "\(stack)", "reason": "\(error)"])
        }
        return record
    }

    /// The record that a change starts from: the stored one, with states from old objects for versions that it has no
    /// state of. If the record is lost, it is the one that this process knows, provided that no other process can have
    /// changed it; else every version is blocked.
    private func begin(
        _ stack: StackName, _ found: StackRecord?, _ known: StackKnowledge
    ) async throws(ImageError) -> (record: StackRecord, unknown: Set<VersionName>) {
        var record = found?.renewed ?? StackRecord()
        var unknown: Set<VersionName> = []
        if found == nil {
            var lost = known.lost
            if let last = known.record {
                if records.store.capabilities.exclusive {
                    record = last.renewed
                } else {
                    lost = Timestamp(nanoseconds: now())
                }
            } else if lost == nil {
                lost = try await setAside(stack)
            }
            if let lost {
                unknown = try await names(stack)
                for version in unknown { record.states[version] = .unknown(since: lost) }
            }
        }
        for (version, former) in known.former where record.states[version] == nil || unknown.contains(version) {
            record.states[version] = former.state
            unknown.remove(version)
        }
        return (record, unknown)
    }

    /// When a repair moved a stack's record aside (`RecordStore.setAside`); nil if none did.
    func setAside(_ stack: StackName) async throws(ImageError) -> Timestamp? {
        do throws(ObjectStoreError) {
            let info = try await records.store.head(try ObjectKey("quarantine/\(StackRecord.key(stack))"))
            return Timestamp(nanoseconds: info.modified)
        } catch {
            if case .missing = error { return nil }
            throw .store(error)
        }
    }

    /// All versions that have any object in the store, readable or not.
    private func names(_ stack: StackName) async throws(ImageError) -> Set<VersionName> {
        var names = Set(state.withLock { $0.variants.keys.filter { $0.stack == stack }.map(\.version) })
        var after: String?
        repeat {
            let page: [String]
            do throws(ObjectStoreError) {
                page = try await records.store.listComponents(
                    below: RootfsVersion.folder(stack), startAfter: after, limit: 1000)
            } catch { throw .store(error) }
            names.formUnion(page.compactMap { try? VersionName($0) })
            after = page.last
        } while after != nil
        return names
    }

    private func remember(_ record: StackRecord, of stack: StackName) {
        state.withLock { state in
            state.stacks[stack, default: StackKnowledge()].record = record
            state.stacks[stack]?.lost = nil
        }
    }

    /// Removes old state objects, whose content is in the record now; one that can't be read is moved aside.
    private func removeFormerStates(of stack: StackName) async throws(ImageError) {
        let versions = state.withLock { $0.stacks[stack]?.former.filter { !$0.value.isNewer }.keys.map { $0 } } ?? []
        guard !versions.isEmpty else { return }
        for version in versions {
            let key = try formerKey(stack, version)
            switch try await records.find(key, as: VersionState.self) {
            case .missing: break
            case .stored(let state): _ = try await records.remove(key, version: state.version)
            case .unreadable(let record): _ = try await records.setAside(record)
            }
            state.withLock { $0.stacks[stack]?.former[version] = nil }
        }
        try await records.sync()
    }

    func recordKey(_ stack: StackName) throws(ImageError) -> ObjectKey {
        do { return try StackRecord.key(stack) } catch { throw .store(error) }
    }

    private func formerKey(_ stack: StackName, _ version: VersionName) throws(ImageError) -> ObjectKey {
        do { return try VersionState.key(stack, version) } catch { throw .store(error) }
    }
}
