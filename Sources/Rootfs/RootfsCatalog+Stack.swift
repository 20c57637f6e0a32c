import JSON
import Logging
import ObjectStore
import Records
import Runtime
import Synchronization

/// What a request to promote expects to be current; otherwise it is refused.
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
    /// nil if there is no record or it can't be read.
    var record: StackRecord?
    /// Since when the states of versions are unknown, because the record can't be read or was set aside; nil: they are
    /// known.
    var lost: Timestamp?
    /// States in objects of earlier versions of Cistern, `rootfs/<stack>/<version>/state`, until these are removed.
    var former: [VersionName: FormerState] = [:]

    struct FormerState {
        let state: VersionState
        /// Whether a newer version of Cistern wrote the object, so that it must stay.
        var isNewer = false
    }

    var needsMigration: Bool {
        lost == nil && (record?.isOldForm == true || former.values.contains { !$0.isNewer })
    }

    /// The state of a version. The record's state counts first: an object of an earlier version of Cistern that still
    /// exists beside it was left by an interrupted migration, which had copied its state into the record.
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

    /// Makes a version its stack's current one with one conditional write, durable on return. Promoting the version
    /// that is current already changes nothing.
    ///
    /// If the stack's record is damaged and this process does not know its content for sure, a new record begins with
    /// this promotion. The states of other versions are lost then: they count as blocked until an operator sets them.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.versionBlocked`, `.contended`; `.promotedMeanwhile` if another
    ///   version is current than expected; `.damaged` if a newer version of Cistern wrote the stack's record.
    @discardableResult
    public func promote(
        _ stack: StackName, _ version: VersionName, by: String, reason: String,
        expecting expectation: PromotionExpectation? = nil
    ) async throws(ImageError) -> PromotionHistory {
        try await change(
            Change(stack: stack, by: by, reason: reason, expectation: expectation), to: .version(version))
    }

    /// Goes back to the version that was current before, among those that still exist and are not blocked
    /// (`PromotionHistory.earlier`), with one conditional write, durable on return.
    /// - Throws: `.unknownStack`, `.nothingPromoted`, `.nothingBefore`, `.promotedMeanwhile`, `.contended`, `.damaged`.
    @discardableResult
    public func rollBack(
        _ stack: StackName, by: String, reason: String, expecting expectation: PromotionExpectation? = nil
    ) async throws(ImageError) -> PromotionHistory {
        try await change(Change(stack: stack, by: by, reason: reason, expectation: expectation), to: .earlier)
    }

    /// The version that a rollback would make current now; nil if there is none.
    public func rollbackTarget(_ stack: StackName) -> VersionName? {
        let versions = Set(((try? versions(stack)) ?? []).map(\.version))
        return history(stack)?.earlier.first { versions.contains($0) && availability(stack, $0) != .blocked }
    }

    /// The history as the store has it now, read past this catalog's memory.
    /// - Throws: `.damaged` if the record can't be read.
    package func storedHistory(_ stack: StackName) async throws(ImageError) -> PromotionHistory? {
        try await records.read(try recordKey(stack), as: StackRecord.self)?.value.history
    }

    private func change(_ change: Change, to destination: Destination) async throws(ImageError) -> PromotionHistory {
        // While `changes` is held the version can't be removed by this process.
        try await changes.run(cancelled: ImageError.cancelled) { () throws(ImageError) in
            var made: PromotionHistory.Promotion?
            let record = try await update(change.stack) { (record, unknown) throws(ImageError) in
                made = nil
                if let expectation = change.expectation, !expectation.holds(record.history) {
                    _ = try versions(change.stack)
                    throw .promotedMeanwhile(change.stack, record.history?.promotions.first)
                }
                // Promoting a version whose state is unknown counts as allowing it.
                if case .version(let version) = destination, unknown.contains(version) { record.states[version] = nil }
                let promotion = try await promotion(change, to: destination, from: record)
                guard record.history?.current != promotion.version else { return }
                record.history = record.history?.adding(promotion) ?? PromotionHistory(first: promotion)
                made = promotion
            }
            guard let history = record.history else { throw .nothingPromoted(change.stack) }
            if let made {
                events?.add(
                    made.kind == .rollback ? "rootfs.rolled-back" : "rootfs.promoted",
                    [
                        "stack": .string(change.stack.text), "version": .string(made.version.text),
                        "by": .string(made.by), "reason": .string(made.reason),
                    ])
            }
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
    /// The state that an operator gave a version; nil if none was ever set, so that it is available.
    public func versionState(_ stack: StackName, _ version: VersionName) -> VersionState? {
        state.withLock { $0.stacks[stack]?.state(of: version) }
    }

    public func availability(_ stack: StackName, _ version: VersionName) -> VersionState.Availability {
        versionState(stack, version)?.availability ?? .available
    }

    /// Sets the state of a version with one conditional write, durable on return. Setting the same state again changes
    /// nothing.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.contended`; `.rootfsInUse` to block the current version;
    ///   `.damaged` if a newer version of Cistern wrote the stack's record.
    public func setState(
        _ stack: StackName, _ version: VersionName, _ availability: VersionState.Availability, by: String,
        reason: String
    ) async throws(ImageError) -> VersionState {
        // While `changes` is held the version can't be removed by this process.
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

    /// Blocks a version that is about to be removed, so that no process promotes it from now on.
    /// - Throws: `.rootfsInUse` if it is current; `.damaged` if the stack's record can't be read.
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
            // A full store must not prevent removals, which make room. Within this process `changes` excludes a
            // promotion.
        }
    }

    /// Removes the state of a version that was removed.
    func forgetState(_ stack: StackName, _ version: VersionName) async throws(ImageError) {
        state.withLock { $0.stacks[stack]?.former[version] = nil }
        try await update(stack, replacingDamaged: false) { (record, _) throws(ImageError) in
            record.states[version] = nil
        }
    }
}
