public import OCI
import Synchronization

/// Keeps the limits: of what repositories hold (`Quota`), and of what the store holds.
///
/// What is used is counted when the server starts and again now and then (`count`); in between, what is added is added
/// here too. Whatever is on its way holds its bytes before they are taken (`reservation`), and holding is one step for
/// everybody, so the processes' own writers together never get past a limit. What is deleted from repositories counts
/// until the next count, which comes soon after it (`isCountDue`): totals err on the high side, never on the low one.
/// Bytes that are deleted from the store are given back at once.
///
/// Several processes on one store don't know of each other's uploads: together they overshoot a limit by what the
/// others take between two counts.
public final class QuotaLedger: Sendable {
    /// In which of two walks a count comes to a repository's things.
    public enum Walk: Sendable, CaseIterable {
        /// Those that were pushed, by the catalog.
        case pushed
        /// Those of droplets, by their records.
        case droplets
    }

    enum Outcome {
        case held
        case denied(QuotaDenial)
        case uncounted
    }

    private let state: Mutex<QuotaState>
    private let interval: Duration

    /// - Parameters:
    ///   - storeLimit: for the store's content, in bytes; nil: none.
    ///   - interval: between counts that nothing else asks for.
    public init(storeLimit: Int64? = nil, interval: Duration = .seconds(3600)) {
        self.interval = interval
        state = Mutex(QuotaState(storeLimit: storeLimit))
    }

    /// Whether there is any limit.
    public var isActive: Bool { state.withLock { $0.isActive } }

    /// Takes other quotas, from now on and for what is under way too. A quota for the same repositories as before keeps
    /// its total; a new one's is known after the next count, and until then what it covers waits.
    public func replace(_ quotas: [Quota]) { state.withLock { $0.replace(quotas) } }

    /// Begins to hold bytes for a repository, none at first.
    public func reservation(for repository: RepositoryName, _ walk: Walk = .pushed) -> QuotaReservation {
        QuotaReservation(book: self, id: state.withLock { $0.begin(.repository(repository.text, walk)) })
    }

    /// Begins to hold bytes of the store.
    func storeReservation() -> QuotaReservation {
        QuotaReservation(book: self, id: state.withLock { $0.begin(.stored(key: nil)) })
    }

    func name(_ id: UInt64, _ key: String) { state.withLock { $0.name(id, key) } }

    func hold(_ id: UInt64, _ total: Int64) -> Outcome { state.withLock { $0.hold(id, total) } }
    func grow(_ id: UInt64, _ more: Int64) -> Outcome { state.withLock { $0.hold(id, $0.held(id) + more) } }
    func shrink(_ id: UInt64, by less: Int64) { state.withLock { $0.shrink(id, $0.held(id) - less) } }
    func shrink(_ id: UInt64, _ total: Int64) { state.withLock { $0.shrink(id, total) } }
    func commit(_ id: UInt64, _ bytes: Int64) { state.withLock { $0.commit(id, bytes) } }
    func release(_ id: UInt64) { state.withLock { _ = $0.release(id) } }

    /// Content is gone that an object held.
    func deleted(_ key: String, _ bytes: Int64) { state.withLock { $0.deleted(key, bytes) } }

    /// Something was taken from a repository: a count will tell what it holds now.
    public func removed() { state.withLock { $0.isOutdated = true } }

    /// What is used of the limits.
    public var usage: QuotaUsage { state.withLock { $0.usage } }

    // MARK: counting

    /// Whether it is time to count: at the start and in each interval; soon after something was taken out or a quota
    /// came into force that nothing is known of, but so that counting takes a tenth of the time at most.
    public func isCountDue(now: ContinuousClock.Instant) -> Bool {
        state.withLock { state in
            guard state.isActive, state.count == nil else { return false }
            guard let ended = state.ended else { return true }
            let rest = state.hasFailed ? .seconds(60) : max(.seconds(1), state.duration * 10)
            let isWanted = state.isOutdated || state.hasFailed || state.isUncounted
            return now >= ended + (isWanted ? min(rest, interval) : interval)
        }
    }

    /// Counts.
    /// - Parameters:
    ///   - now: nanoseconds since 1970.
    ///   - clock: what durations are measured by.
    ///   - progress: told how many repositories were found so far.
    ///   - walk: goes through everything that is held and tells it.
    /// - Returns: false if a count runs already.
    public func count<Failure: Error>(
        now: () -> Int64, clock: () -> ContinuousClock.Instant = { .now },
        progress: @escaping @Sendable (_ repositories: Int) -> Void = { _ in },
        _ walk: (QuotaCount) async throws(Failure) -> Void
    ) async throws(Failure) -> Bool {
        let start = clock()
        guard state.withLock({ $0.beginCount() }) else { return false }
        do throws(Failure) {
            try await walk(QuotaCount(book: self, progress: progress))
            end(start, clock(), now())
            return true
        } catch {
            end(start, clock(), nil)
            throw error
        }
    }

    private func end(_ start: ContinuousClock.Instant, _ end: ContinuousClock.Instant, _ time: Int64?) {
        let waiting = state.withLock { state in
            state.endCount(time, start.duration(to: end))
            state.ended = end
            let waiting = state.waiting
            state.waiting = []
            return waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Waits until the count that runs, or the first one, is over.
    /// - Returns: false if that failed, and none runs.
    func waitForCount() async -> Bool {
        guard state.withLock({ !$0.hasFailed || $0.count != nil }) else { return false }
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let isKnown = state.withLock { state in
                guard state.isUncounted, !state.hasFailed || state.count != nil else { return true }
                state.waiting.append(continuation)
                return false
            }
            if isKnown { continuation.resume() }
        }
        return true
    }

    func reached(_ walk: Walk, _ repository: String?) {
        state.withLock { state in
            state.count?.positions[walk] = repository.map { QuotaState.place($0, walk) } ?? QuotaState.everywhere
        }
    }

    /// - Returns: how many repositories the count has found so far.
    func found(_ repository: String, _ bytes: Int64) -> Int {
        state.withLock { state in
            state.found(repository, bytes)
            return state.count?.repositories ?? 0
        }
    }

    func found(stored page: [(key: String, bytes: Int64)]) { state.withLock { $0.found(stored: page) } }
}

/// A count under way: told what there is.
public struct QuotaCount: Sendable {
    let book: QuotaLedger
    /// Told how many repositories were found so far.
    let progress: @Sendable (Int) -> Void

    /// The walk is about to list its next keys, or at its end. What is committed meanwhile is added to the count.
    public func goOn(_ walk: QuotaLedger.Walk) { book.reached(walk, nil) }

    /// The walk has listed the keys up to those of a repository, in their order, and is about to read them. What is
    /// committed for one of these from now on is added to the count, which may find it a second time: rather that than
    /// never.
    public func reached(_ repository: RepositoryName, _ walk: QuotaLedger.Walk) { book.reached(walk, repository.text) }

    /// What the repository holds.
    public func add(_ repository: RepositoryName, _ bytes: Int64) { progress(book.found(repository.text, bytes)) }

    /// The next objects that hold content, in the order of their keys, and how much of it.
    func add(stored page: [(key: String, bytes: Int64)]) { book.found(stored: page) }
}

/// Bytes that are held for something under way. They are given back when it ends, however it ends: by `commit`, by
/// `release`, or when nobody has this any more.
public final class QuotaReservation: Sendable {
    private let book: QuotaLedger
    private let id: UInt64

    init(book: QuotaLedger, id: UInt64) {
        self.book = book
        self.id = id
    }

    deinit { book.release(id) }

    /// Makes sure that so many bytes are held in all. Waits for the first count if nothing is known yet.
    /// - Throws: `.overQuota`, `.uncounted`; what was held before is still held.
    public func cover(_ total: Int64) async throws(BlobError) { try await hold { book.hold(id, total) } }

    /// Holds so many bytes more, for one of several parts of what is under way.
    /// - Throws: as `cover`.
    public func grow(by more: Int64) async throws(BlobError) { try await hold { book.grow(id, more) } }

    private func hold(_ attempt: () -> QuotaLedger.Outcome) async throws(BlobError) {
        while true {
            switch attempt() {
            case .held: return
            case .denied(let denial): throw .overQuota(denial)
            case .uncounted: guard await book.waitForCount() else { throw .uncounted }
            }
        }
    }

    /// Gives back all but so many bytes.
    public func shrink(to total: Int64) { book.shrink(id, total) }

    /// Gives so many bytes back.
    func shrink(by less: Int64) { book.shrink(id, by: less) }

    /// Says which object will hold the content, before it does.
    func name(_ key: String) { book.name(id, key) }

    /// What was under way is there: from now on so many bytes are used instead of held.
    public func commit(_ bytes: Int64) { book.commit(id, bytes) }

    /// It failed. Where it may have happened nevertheless its bytes count as used, until a count tells.
    func end(_ bytes: Int64, isOutcomeUnknown: Bool) {
        guard isOutcomeUnknown else { return release() }
        commit(bytes)
        book.removed()
    }

    /// It came to nothing, or was there already.
    public func release() { book.release(id) }
}
