import ObjectStore
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
    /// How often a conditional write is tried.
    static let maximumAttempts = 16

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

    func storedHistory(
        _ stack: StackName
    ) async throws(ImageError) -> (history: PromotionHistory, version: ObjectVersion)? {
        let key = try promotionKey(stack)
        let object: StoredObject
        do { object = try await store.get(key) } catch .missing { return nil } catch { throw .store(error) }
        return (try PromotionHistory(parsing: object.bytes, at: key), object.info.version)
    }

    private func change(_ change: Change, to destination: Destination) async throws(ImageError) -> PromotionHistory {
        // Neither blocked nor removed meanwhile.
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            for _ in 0..<Self.maximumAttempts {
                if let history = try await attempt(change, to: destination) { return history }
            }
            throw .contended(try promotionKey(change.stack))
        }
    }

    /// One try at a conditional write; nil if somebody else promoted meanwhile.
    private func attempt(
        _ change: Change, to destination: Destination
    ) async throws(ImageError) -> PromotionHistory? {
        let stored = try await storedHistory(change.stack)
        if let expectation = change.expectation, !expectation.holds(stored?.history) {
            _ = try versions(change.stack)
            throw .promotedMeanwhile(change.stack, stored?.history.promotions.first)
        }
        let promotion = try await promotion(change, to: destination, from: stored?.history)
        var next = PromotionHistory(first: promotion)
        var isCurrent = false
        if let history = stored?.history {
            isCurrent = history.current == promotion.version
            next = isCurrent ? history : history.adding(promotion)
        }
        do {
            if !isCurrent {
                let condition = stored.map { PutCondition.version($0.version) } ?? .absent
                try await store.put(try PromotionHistory.key(change.stack), next.bytes, if: condition)
            }
            // Nobody gets an image of a promotion that may not be there after a restart.
            try await store.sync()
        } catch .changed, .exists, .missing { return nil } catch { throw .store(error) }
        state.withLock { state in
            if state.promotions[change.stack]?.generation ?? 0 < next.generation {
                state.promotions[change.stack] = next
            }
        }
        return next
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
                guard try await storedState(change.stack, version)?.availability != .blocked else { continue }
                return PromotionHistory.Promotion(
                    kind: .rollback, version: version, at: at, by: change.by, reason: change.reason)
            }
            throw .nothingBefore(change.stack, current: history.current)
        }
    }

    private func promotionKey(_ stack: StackName) throws(ImageError) -> ObjectKey {
        do { return try PromotionHistory.key(stack) } catch { throw .store(error) }
    }
}
