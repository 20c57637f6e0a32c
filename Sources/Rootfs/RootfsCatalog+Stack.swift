import Logging
import ObjectStore
import Records
import Runtime
import Synchronization

/// What somebody who promotes believes to be current.
public enum PromotionExpectation: Hashable, Sendable {
    case version(VersionName)
    /// `PromotionHistory.generation`.
    case generation(Int64)

    func holds(_ history: PromotionHistory?) -> Bool {
        switch self {
        case .version(let version): history?.current == version
        case .generation(let generation): history?.generation == generation
        }
    }
}

/// What this process knows of a stack's record.
struct StackKnowledge {
    /// nil: there is none, or none that can be read.
    var record: StackRecord?
    /// Since when it is not known what was said: the record can't be read, or was set aside.
    var lost: Timestamp?
    /// What objects of before say, `rootfs/<stack>/<version>/state`, until they are gone.
    var former: [VersionName: FormerState] = [:]

    struct FormerState {
        let state: VersionState
        /// It stays: somebody else wrote it.
        var isNewer = false
    }

    var needsMigration: Bool {
        lost == nil && (record?.isOldForm == true || former.values.contains { !$0.isNewer })
    }

    /// An object of before counts only as long as the record says nothing of its version: it was left by a migration that
    /// did not come to its end, and was taken over by what the record says.
    func state(of version: VersionName) -> VersionState? {
        let state = record?.states[version] ?? former[version]?.state
        guard let lost, state?.availability != .blocked else { return state }
        return .unknown(since: lost)
    }
}

// MARK: what is current

extension RootfsCatalog {
    /// Who changes what is current, and why.
    private struct Change {
        let stack: StackName
        let by: String
        let reason: String
        let expectation: PromotionExpectation?
    }

    private enum Destination {
        case version(VersionName)
        case earlier
    }

    /// The promotions of a stack, newest first, or nil if nothing was promoted yet.
    public func history(_ stack: StackName) -> PromotionHistory? {
        state.withLock { $0.stacks[stack]?.record?.history }
    }

    /// The promoted version of a stack.
    /// - Throws: `.unknownStack`, `.nothingPromoted`.
    public func current(_ stack: StackName) throws(ImageError) -> VersionName {
        if let history = history(stack) { return history.current }
        _ = try versions(stack)
        throw .nothingPromoted(stack)
    }

    /// Makes a version its stack's current one: one conditional write, durable when it returns. Promoting what is
    /// current already changes nothing.
    ///
    /// Where the stack's record is damaged, a new one begins with this promotion, and what was said of other versions is
    /// lost: they count as blocked until something is said of them.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.versionBlocked`, `.contended`; `.promotedMeanwhile` if something
    ///   else is current than expected; `.damaged` if a newer Cistern wrote what is said of the stack.
    @discardableResult
    public func promote(
        _ stack: StackName, _ version: VersionName, by: String, reason: String,
        expecting expectation: PromotionExpectation? = nil
    ) async throws(ImageError) -> PromotionHistory {
        try await change(
            Change(stack: stack, by: by, reason: reason, expectation: expectation), to: .version(version))
    }

    /// Goes back to what was current before, of what is still there and not blocked (`PromotionHistory.earlier`): one
    /// conditional write, durable when it returns.
    /// - Throws: `.unknownStack`, `.nothingPromoted`, `.nothingBefore`, `.promotedMeanwhile`, `.contended`, `.damaged`.
    @discardableResult
    public func rollBack(
        _ stack: StackName, by: String, reason: String, expecting expectation: PromotionExpectation? = nil
    ) async throws(ImageError) -> PromotionHistory {
        try await change(Change(stack: stack, by: by, reason: reason, expectation: expectation), to: .earlier)
    }

    /// Where a rollback would lead now; nil: nowhere.
    public func rollbackTarget(_ stack: StackName) -> VersionName? {
        let versions = Set(((try? versions(stack)) ?? []).map(\.version))
        return history(stack)?.earlier.first { versions.contains($0) && availability(stack, $0) != .blocked }
    }

    /// As the store has it now.
    /// - Throws: `.damaged` if it can't be read.
    package func storedHistory(_ stack: StackName) async throws(ImageError) -> PromotionHistory? {
        try await records.read(try recordKey(stack), as: StackRecord.self)?.value.history
    }

    private func change(_ change: Change, to destination: Destination) async throws(ImageError) -> PromotionHistory {
        // Not removed meanwhile.
        try await changes.run(cancelled: ImageError.cancelled) { () throws(ImageError) in
            let record = try await update(change.stack) { (record, unknown) throws(ImageError) in
                if let expectation = change.expectation, !expectation.holds(record.history) {
                    _ = try versions(change.stack)
                    throw .promotedMeanwhile(change.stack, record.history?.promotions.first)
                }
                // Who promotes a version of which it is not known what was said says it.
                if case .version(let version) = destination, unknown.contains(version) { record.states[version] = nil }
                let promotion = try await promotion(change, to: destination, from: record)
                guard record.history?.current != promotion.version else { return }
                record.history = record.history?.adding(promotion) ?? PromotionHistory(first: promotion)
            }
            guard let history = record.history else { throw .nothingPromoted(change.stack) }
            return history
        }
    }

    private func promotion(
        _ change: Change, to destination: Destination, from record: StackRecord
    ) async throws(ImageError) -> PromotionHistory.Promotion {
        let at = Timestamp(nanoseconds: now())
        switch destination {
        case .version(let version):
            try await requireStored(change.stack, version)
            if let state = record.states[version], state.availability == .blocked {
                throw .versionBlocked(change.stack, version, reason: state.reason)
            }
            return PromotionHistory.Promotion(version: version, at: at, by: change.by, reason: change.reason)
        case .earlier:
            guard let history = record.history else { throw .nothingPromoted(change.stack) }
            for version in history.earlier where !record.isBlocked(version) {
                guard try await isStored(change.stack, version) else { continue }
                return PromotionHistory.Promotion(
                    kind: .rollback, version: version, at: at, by: change.by, reason: change.reason)
            }
            throw .nothingBefore(change.stack, current: history.current)
        }
    }
}

// MARK: what is said of versions

extension RootfsCatalog {
    /// What was said of a version; nil if nothing ever was: it is available.
    public func versionState(_ stack: StackName, _ version: VersionName) -> VersionState? {
        state.withLock { $0.stacks[stack]?.state(of: version) }
    }

    public func availability(_ stack: StackName, _ version: VersionName) -> VersionState.Availability {
        versionState(stack, version)?.availability ?? .available
    }

    /// Says what may become of a version, by one conditional write, durable when it returns. Saying the same again
    /// changes nothing.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.contended`; `.rootfsInUse` if it is to be blocked and is current;
    ///   `.damaged` if a newer Cistern wrote what is said of the stack.
    public func setState(
        _ stack: StackName, _ version: VersionName, _ availability: VersionState.Availability, by: String,
        reason: String
    ) async throws(ImageError) -> VersionState {
        // Not removed meanwhile.
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            let wanted = VersionState(
                availability: availability, at: Timestamp(nanoseconds: now()), by: by, reason: reason)
            let record = try await update(stack) { (record, _) throws(ImageError) in
                try await requireStored(stack, version)
                if availability == .blocked, record.history?.current == version { throw .rootfsInUse(stack, version) }
                if let said = record.states[version], said.availability == availability, said.reason == reason {
                    return
                }
                record.states[version] = wanted
            }
            return record.states[version] ?? wanted
        }
    }

    /// - Throws: `.versionBlocked`.
    func requireNotBlocked(_ stack: StackName, _ version: VersionName) throws(ImageError) {
        if let state = versionState(stack, version), state.availability == .blocked {
            throw .versionBlocked(stack, version, reason: state.reason)
        }
    }

    /// Before a version is removed: from now on nobody promotes it, in whatever process.
    /// - Throws: `.rootfsInUse` if it is current; `.damaged` if that is not known.
    func condemn(_ stack: StackName, _ version: VersionName) async throws(ImageError) {
        do throws(ImageError) {
            try await update(stack, replacingDamaged: false) { (record, _) throws(ImageError) in
                guard record.history?.current != version else { throw .rootfsInUse(stack, version) }
                guard !record.isBlocked(version) else { return }
                record.states[version] = VersionState(
                    availability: .blocked, at: Timestamp(nanoseconds: now()), by: "",
                    reason: "its removal began and did not come to its end: remove it again")
            }
        } catch .store(.full) {
            // Removing is what makes room. Within this process it excludes a promotion anyhow.
        }
    }

    /// After a version was removed.
    func forgetState(_ stack: StackName, _ version: VersionName) async throws(ImageError) {
        state.withLock { $0.stacks[stack]?.former[version] = nil }
        try await update(stack, replacingDamaged: false) { (record, _) throws(ImageError) in
            record.states[version] = nil
        }
    }
}

// MARK: the record

extension RootfsCatalog {
    /// Brings what is said of stacks into the form that this version writes; a version before it can't read that. Says so
    /// before the first write. What can't be migrated now is read as it was, and migrated by the next change of it.
    ///
    /// The record is swapped first, with all that the objects of before say; they are removed when that is durable. So
    /// whatever is left when it is interrupted says the same, and the next start goes on.
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

    /// Whether this process knows a version that is still stored. Asked when the stack's record was read: what another
    /// process removes later swaps the record first.
    private func isStored(_ stack: StackName, _ version: VersionName) async throws(ImageError) -> Bool {
        for variant in try versions(stack) where variant.version == version {
            let key: ObjectKey
            do { key = try RootfsVersion.key(stack, version, variant.architecture) } catch { throw .store(error) }
            if try await records.isThere(key) { return true }
        }
        return false
    }

    /// - Throws: `.unknownStack`, `.unknownVersion`.
    private func requireStored(_ stack: StackName, _ version: VersionName) async throws(ImageError) {
        guard try await isStored(stack, version) else { throw .unknownVersion(stack, version) }
    }

    /// Changes what is said of a stack by one conditional write, durable when it returns. The caller holds `changes`.
    /// - Parameter body: changes the record, or throws if that is not to be; may be asked several times. It gets the
    ///   versions of which it is not known what was said, too: they are blocked in the record.
    @discardableResult
    private func update(
        _ stack: StackName, replacingDamaged: Bool = true,
        _ body: (inout StackRecord, _ unknown: Set<VersionName>) async throws(ImageError) -> Void
    ) async throws(ImageError) -> StackRecord {
        let known = state.withLock { $0.stacks[stack] } ?? StackKnowledge()
        var isLost = false
        let stored = try await records.update(
            try recordKey(stack), as: StackRecord.self, replacingDamaged: replacingDamaged
        ) { (found) throws(ImageError) in
            // The answer to an earlier write may have been lost, or another process wrote.
            if let found = found?.value, found != known.record {
                try await records.sync()
                remember(found, of: stack)
            }
            var (record, unknown) = try await begin(stack, found?.value, known)
            isLost = !unknown.isEmpty
            try await body(&record, unknown)
            return record == found?.value ?? StackRecord() ? .keep : .write(record)
        }
        // Nobody gets an image of a promotion that may not be there after a restart.
        try await records.sync()
        guard let record = stored?.value else { return StackRecord() }
        remember(record, of: stack)
        if isLost {
            logger?.error(
                "what was said of a stack's versions is lost: they are blocked until something is said of them",
                metadata: ["stack": "\(stack)"])
        }
        // What can't be removed now says what the record says, and goes with the next change.
        do throws(ImageError) { try await removeFormerStates(of: stack) } catch {}
        return record
    }

    /// The record that a change begins with: what is stored, and what objects of before say of versions of which that says
    /// nothing. Where it is lost, and nobody else can have changed it, what this process knows; else all is blocked.
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

    /// When a repair moved the record of a stack aside (`RecordStore.setAside`); nil: none did.
    func setAside(_ stack: StackName) async throws(ImageError) -> Timestamp? {
        do throws(ObjectStoreError) {
            let info = try await records.store.head(try ObjectKey("quarantine/\(StackRecord.key(stack))"))
            return Timestamp(nanoseconds: info.modified)
        } catch {
            if case .missing = error { return nil }
            throw .store(error)
        }
    }

    /// All versions of which there is anything, readable or not.
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

    /// Removes objects of before that the record took over; one that can't be read is moved aside.
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

    private func recordKey(_ stack: StackName) throws(ImageError) -> ObjectKey {
        do { return try StackRecord.key(stack) } catch { throw .store(error) }
    }

    private func formerKey(_ stack: StackName, _ version: VersionName) throws(ImageError) -> ObjectKey {
        do { return try VersionState.key(stack, version) } catch { throw .store(error) }
    }
}
