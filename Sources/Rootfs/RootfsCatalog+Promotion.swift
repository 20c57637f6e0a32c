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

    /// Makes a version its stack's current one: one conditional write, durable when it returns. Promoting what is
    /// current already changes nothing.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.versionBlocked`, `.contended`; `.promotedMeanwhile` if something
    ///   else is current than expected.
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
    /// - Throws: `.unknownStack`, `.nothingPromoted`, `.nothingBefore`, `.promotedMeanwhile`, `.contended`.
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
        try await records.read(try promotionKey(stack), as: PromotionHistory.self)?.value
    }

    private func change(_ change: Change, to destination: Destination) async throws(ImageError) -> PromotionHistory {
        // Neither blocked nor removed meanwhile.
        try await changes.run(cancelled: ImageError.cancelled) { () throws(ImageError) in
            let key = try promotionKey(change.stack)
            // A history that is damaged is lost: who promotes says what is current from now on.
            let stored = try await records.update(key, as: PromotionHistory.self, replacingDamaged: true) {
                (found) throws(ImageError) in
                let history = found?.value
                // The answer to an earlier write may have been lost.
                if let history, isNews(history, of: change.stack) {
                    try await records.sync()
                    remember(history, of: change.stack)
                }
                if let expectation = change.expectation, !expectation.holds(history) {
                    _ = try versions(change.stack)
                    throw .promotedMeanwhile(change.stack, history?.promotions.first)
                }
                let promotion = try await promotion(change, to: destination, from: history)
                guard let history else { return .write(PromotionHistory(first: promotion)) }
                return history.current == promotion.version ? .keep : .write(history.adding(promotion))
            }
            guard let next = stored?.value else { throw .contended(key) }
            // Nobody gets an image of a promotion that may not be there after a restart.
            try await records.sync()
            remember(next, of: change.stack)
            return next
        }
    }

    private func isNews(_ history: PromotionHistory, of stack: StackName) -> Bool {
        state.withLock { $0.promotions[stack]?.generation ?? 0 < history.generation }
    }

    private func remember(_ history: PromotionHistory, of stack: StackName) {
        state.withLock { state in
            if state.promotions[stack]?.generation ?? 0 < history.generation { state.promotions[stack] = history }
        }
    }

    private func promotion(
        _ change: Change, to destination: Destination, from history: PromotionHistory?
    ) async throws(ImageError) -> PromotionHistory.Promotion {
        let versions = Set(try versions(change.stack).map(\.version))
        let at = Timestamp(nanoseconds: now())
        switch destination {
        case .version(let version):
            guard versions.contains(version) else { throw .unknownVersion(change.stack, version) }
            if let state = try await storedState(change.stack, version), state.availability == .blocked {
                throw .versionBlocked(change.stack, version, reason: state.reason)
            }
            return PromotionHistory.Promotion(version: version, at: at, by: change.by, reason: change.reason)
        case .earlier:
            guard let history else { throw .nothingPromoted(change.stack) }
            for version in history.earlier where versions.contains(version) {
                guard try await isFree(change.stack, version) else { continue }
                return PromotionHistory.Promotion(
                    kind: .rollback, version: version, at: at, by: change.by, reason: change.reason)
            }
            throw .nothingBefore(change.stack, current: history.current)
        }
    }

    /// What is not known counts as blocked.
    private func isFree(_ stack: StackName, _ version: VersionName) async throws(ImageError) -> Bool {
        do { return try await storedState(stack, version)?.availability != .blocked } catch {
            guard case .damaged = error else { throw error }
            return false
        }
    }

    private func promotionKey(_ stack: StackName) throws(ImageError) -> ObjectKey {
        do { return try PromotionHistory.key(stack) } catch { throw .store(error) }
    }
}
