public import OCI
import Synchronization

/// Enforces the limits: on what repositories hold (`Quota`), and on what the store holds.
///
/// What is used is counted when the server starts and again at intervals (`count`); between counts the ledger adds what
/// is committed. An upload reserves its bytes before they are taken (`reservation`), and a reservation is one atomic
/// step, so this process's writers together never exceed a limit. What is deleted from repositories still counts until
/// the next count, which follows soon (`isCountDue`): totals may be too high, never too low. Content that is deleted
/// from the store is given back at once.
///
/// Several processes on one store don't know of each other's uploads: together they exceed a limit by at most what the
/// others take between two counts.
public final class QuotaLedger: Sendable {
    /// The walk in which a count comes to a repository.
    public enum Walk: Sendable, CaseIterable {
        /// Repositories with pushed content, found by the catalog.
        case pushed
        /// Repositories of droplets, found by the droplets' records.
        case droplets
        /// App bits, found by their records.
        case bits
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
    ///   - interval: the longest time between counts. A deletion or a new quota makes the next one due sooner.
    public init(storeLimit: Int64? = nil, interval: Duration = .seconds(3600)) {
        self.interval = interval
        state = Mutex(QuotaState(storeLimit: storeLimit))
    }

    /// Whether there is any limit.
    public var isActive: Bool { state.withLock { $0.isActive } }

    /// Replaces the quotas, also for uploads under way. A quota for the same repositories as before keeps its total. A
    /// new one is unknown until the next count, and writes to the repositories that it covers wait for that.
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

    /// Gives back the bytes of content that was deleted with the object under `key`.
    func deleted(_ key: String, _ bytes: Int64) { state.withLock { $0.deleted(key, bytes) } }

    /// Notes that content was removed from a repository, so that a new count becomes due.
    public func removed() { state.withLock { $0.isOutdated = true } }

    /// What is used of the limits.
    public var usage: QuotaUsage { state.withLock { $0.usage } }

    // MARK: counting

    /// Whether it is time to count: at the start and after each interval, or soon after a deletion, a failure, or a new
    /// quota without a total, but seldom enough that counting takes about a tenth of the time at most.
    public func isCountDue(now: ContinuousClock.Instant) -> Bool {
        state.withLock { state in
            guard state.isActive, state.count == nil else { return false }
            guard let ended = state.ended else { return true }
            let rest = state.hasFailed ? .seconds(60) : max(.seconds(1), state.duration * 10)
            let isWanted = state.isOutdated || state.hasFailed || state.isUncounted
            return now >= ended + (isWanted ? min(rest, interval) : interval)
        }
    }

    /// Runs a count.
    /// - Parameters:
    ///   - now: the time in nanoseconds since 1970.
    ///   - clock: measures the duration of the count.
    ///   - progress: told how many repositories were found so far.
    ///   - walk: goes through all repositories and objects and reports them to the `QuotaCount`.
    /// - Returns: false if a count is running already.
    /// - Throws: what `walk` throws; the totals stay as they were.
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

    /// Waits for the end of the running count, or of the first one, if a total is unknown.
    /// - Returns: false if the last count failed and none is running.
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

/// A count under way, to which a walk reports what it finds.
public struct QuotaCount: Sendable {
    let book: QuotaLedger
    /// Told how many repositories were found so far.
    let progress: @Sendable (Int) -> Void

    /// The walk is about to list its next keys, or is at its end. What is committed meanwhile is added to the count.
    public func goOn(_ walk: QuotaLedger.Walk) { book.reached(walk, nil) }

    /// The walk has listed the keys up to those of a repository, in their order, and is about to read them. What is
    /// committed to one of these repositories from now on is added to the count. The walk may find it too, so that it
    /// counts twice, which is better than not at all.
    public func reached(_ repository: RepositoryName, _ walk: QuotaLedger.Walk) { book.reached(walk, repository.text) }

    /// Adds the bytes that a repository holds.
    public func add(_ repository: RepositoryName, _ bytes: Int64) { progress(book.found(repository.text, bytes)) }

    /// Adds the next objects that hold content, in the order of their keys, with the bytes of that content.
    func add(stored page: [(key: String, bytes: Int64)]) { book.found(stored: page) }
}

/// Bytes that are reserved for an upload under way. They are given back when it ends: by `commit`, by `release`, or
/// when the last reference to this reservation is gone.
public final class QuotaReservation: Sendable {
    private let book: QuotaLedger
    private let id: UInt64

    init(book: QuotaLedger, id: UInt64) {
        self.book = book
        self.id = id
    }

    deinit { book.release(id) }

    /// Makes sure that `total` bytes are held. Waits for the first count if what is used is not known yet.
    /// - Throws: `.overQuota`, `.uncounted`; the reservation stays as it was.
    public func cover(_ total: Int64) async throws(BlobError) { try await hold { book.hold(id, total) } }

    /// Holds `more` bytes besides those held already, for one of several parts of an upload.
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

    /// Gives back all but `total` bytes.
    public func shrink(to total: Int64) { book.shrink(id, total) }

    /// Gives back `less` bytes.
    func shrink(by less: Int64) { book.shrink(id, by: less) }

    /// States the key of the object that will hold the content. Called before the object is written.
    func name(_ key: String) { book.name(id, key) }

    /// Ends the reservation because the content is stored: `bytes` are used from now on instead of held.
    public func commit(_ bytes: Int64) { book.commit(id, bytes) }

    /// Ends the reservation after a failed write. If the outcome is unknown, the bytes count as used until the next
    /// count.
    func end(_ bytes: Int64, isOutcomeUnknown: Bool) {
        guard isOutcomeUnknown else { return release() }
        commit(bytes)
        book.removed()
    }

    /// Ends the reservation because nothing was stored, or the content was there already.
    public func release() { book.release(id) }
}
