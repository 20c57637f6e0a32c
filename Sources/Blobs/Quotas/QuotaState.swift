import JSON

/// What a `QuotaLedger` knows; its owner locks it.
struct QuotaState {
    /// How many of the largest repositories a count names.
    static let largest = 100

    /// A position that sorts after every `place`.
    static let everywhere = "\u{7f}"

    /// A limit and what is used of it.
    struct Account {
        /// nil for the account of the whole store.
        let quota: Quota?
        var limit: Int64?
        /// nil: not counted yet.
        var used: Int64?
        var reserved: Int64 = 0
        var denied = 0

        var total: QuotaUsage.Total {
            QuotaUsage.Total(limit: limit, used: used, reserved: reserved, denied: denied)
        }
    }

    enum Subject {
        case repository(String, QuotaLedger.Walk)
        /// The object that holds content; nil until it is known.
        case stored(key: String?)
    }

    private struct Held {
        var subject: Subject
        var bytes: Int64 = 0
        /// Indices of the accounts in which its bytes are reserved.
        var accounts: [Int]
    }

    /// A count under way.
    struct Count {
        /// Used bytes by account index.
        var used: [Int64]
        /// The accounts' generation when the count began. If the quotas change meanwhile, the indices in `used` don't
        /// apply.
        let generation: Int
        /// How far the walks are: what is committed up to these places is added here too.
        var positions: [QuotaLedger.Walk: String] = [:]
        /// The key of the last object that was counted.
        var lastStored = ""
        /// Keys of objects committed since the count began: `commit` has added their content already.
        var fresh: Set<String> = []
        var repositories = 0
        var logicalBytes: Int64 = 0
        var holders: [String: Int64] = [:]
        let wasOutdated: Bool
    }

    /// The store's account first, then one per quota.
    private(set) var accounts: [Account]
    private var held: [UInt64: Held] = [:]
    private var nextID: UInt64 = 0
    private var generation = 0
    var count: Count?
    private var last: QuotaUsage.Count?
    private(set) var duration: Duration = .zero
    private(set) var hasFailed = false
    var ended: ContinuousClock.Instant?
    var isOutdated = false
    var waiting: [CheckedContinuation<Void, Never>] = []

    init(storeLimit: Int64?) { accounts = [Account(quota: nil, limit: storeLimit)] }

    var isActive: Bool { accounts.count > 1 || accounts[0].limit != nil }

    /// Whether the used bytes of any limit are unknown.
    var isUncounted: Bool { accounts.contains { $0.limit != nil && $0.used == nil } }

    var usage: QuotaUsage {
        QuotaUsage(
            store: accounts[0].total,
            quotas: accounts.dropFirst().map { ($0.quota?.repositories ?? "", $0.total) },
            count: last, isCounting: count != nil)
    }

    mutating func replace(_ quotas: [Quota]) {
        let old = accounts.dropFirst()
        let isSame = old.elementsEqual(quotas) {
            $0.quota?.repositories == $1.repositories && $0.quota?.bytes == $1.bytes
        }
        guard !isSame else { return }
        accounts = [accounts[0]]
        for quota in quotas {
            var account = Account(quota: quota, limit: quota.bytes)
            if let before = old.first(where: { $0.quota?.repositories == quota.repositories }) {
                account.used = before.used
                account.denied = before.denied
            }
            accounts.append(account)
        }
        generation += 1
        accounts[0].reserved = 0
        for (id, holding) in held {
            let indices = self.indices(of: holding.subject)
            held[id]?.accounts = indices
            for index in indices {
                accounts[index].reserved = accounts[index].reserved.clampedAdding(holding.bytes)
            }
        }
        // A count under way began with other quotas, so another one has to follow.
        if count != nil { isOutdated = true }
    }

    // MARK: holding

    mutating func begin(_ subject: Subject) -> UInt64 {
        nextID += 1
        held[nextID] = Held(subject: subject, accounts: indices(of: subject))
        return nextID
    }

    mutating func name(_ id: UInt64, _ key: String) { held[id]?.subject = .stored(key: key) }

    mutating func hold(_ id: UInt64, _ total: Int64) -> QuotaLedger.Outcome {
        guard let holding = held[id], total > holding.bytes else { return .held }
        let more = total - holding.bytes
        for index in holding.accounts {
            let account = accounts[index]
            guard let limit = account.limit else { continue }
            guard let used = account.used else { return .uncounted }
            guard limit - used.clampedAdding(account.reserved) >= more else {
                accounts[index].denied += 1
                return .denied(
                    QuotaDenial(
                        repositories: account.quota?.repositories, limit: limit, used: used,
                        reserved: account.reserved, asked: more))
            }
        }
        set(id, total)
        return .held
    }

    /// The bytes that a reservation holds.
    func held(_ id: UInt64) -> Int64 { held[id]?.bytes ?? 0 }

    mutating func shrink(_ id: UInt64, _ total: Int64) {
        guard let holding = held[id], total < holding.bytes else { return }
        set(id, total)
    }

    private mutating func set(_ id: UInt64, _ total: Int64) {
        guard let holding = held[id] else { return }
        for index in holding.accounts {
            accounts[index].reserved = max(0, accounts[index].reserved - holding.bytes).clampedAdding(total)
        }
        held[id]?.bytes = total
    }

    mutating func release(_ id: UInt64) -> Subject? {
        set(id, 0)
        return held.removeValue(forKey: id)?.subject
    }

    mutating func commit(_ id: UInt64, _ bytes: Int64) {
        guard let subject = release(id) else { return }
        let isCounted: Bool
        switch subject {
        case .repository(let name, let walk):
            isCounted = count?.positions[walk].map { Self.place(name, walk) <= $0 } ?? false
        case .stored(let key):
            if let key { count?.fresh.insert(key) }
            isCounted = true
        }
        for index in indices(of: subject) {
            if let used = accounts[index].used { accounts[index].used = used.clampedAdding(bytes) }
            if isCounted, let counted = count, counted.generation == generation {
                count?.used[index] = counted.used[index].clampedAdding(bytes)
            }
        }
    }

    mutating func deleted(_ key: String, _ bytes: Int64) {
        accounts[0].used = accounts[0].used.map { max(0, $0 - bytes) }
        // A count under way includes the object only if it has passed its key already.
        if let count, count.fresh.contains(key) || key <= count.lastStored {
            self.count?.used[0] = max(0, count.used[0] - bytes)
        }
    }

    private func indices(of subject: Subject) -> [Int] {
        switch subject {
        case .stored: [0]
        case .repository(let name, _):
            accounts.indices.filter { accounts[$0].quota?.covers(name) == true }
        }
    }

    // MARK: counting

    mutating func beginCount() -> Bool {
        guard count == nil else { return false }
        count = Count(
            used: Array(repeating: 0, count: accounts.count), generation: generation, wasOutdated: isOutdated)
        isOutdated = false
        return true
    }

    mutating func found(_ repository: String, _ bytes: Int64) {
        guard bytes > 0, var counted = count else { return }
        count = nil
        if counted.generation == generation {
            for index in accounts.indices where accounts[index].quota?.covers(repository) == true {
                counted.used[index] = counted.used[index].clampedAdding(bytes)
            }
        }
        counted.repositories += 1
        counted.logicalBytes = counted.logicalBytes.clampedAdding(bytes)
        counted.holders[repository] = counted.holders[repository, default: 0].clampedAdding(bytes)
        if counted.holders.count >= Self.largest * 4 {
            let kept = Self.sorted(counted.holders).prefix(Self.largest)
            counted.holders = Dictionary(uniqueKeysWithValues: kept.map { ($0.repository, $0.bytes) })
        }
        count = counted
    }

    mutating func found(stored page: [(key: String, bytes: Int64)]) {
        guard var counted = count else { return }
        count = nil
        var underWay: Set<String> = []
        for holding in held.values { if case .stored(let key?) = holding.subject { underWay.insert(key) } }
        for (key, bytes) in page {
            // An object that is being committed is added by `commit`, and must not count twice.
            if !counted.fresh.contains(key), !underWay.contains(key) {
                counted.used[0] = counted.used[0].clampedAdding(bytes)
            }
            counted.lastStored = max(counted.lastStored, key)
        }
        count = counted
    }

    /// - Parameter time: when the count ended; nil if it failed.
    mutating func endCount(_ time: Int64?, _ duration: Duration) {
        guard let counted = count else { return }
        count = nil
        self.duration = duration
        hasFailed = time == nil
        guard let time else {
            isOutdated = isOutdated || counted.wasOutdated
            return
        }
        accounts[0].used = counted.used[0]
        if counted.generation == generation {
            for index in accounts.indices { accounts[index].used = counted.used[index] }
        }
        last = QuotaUsage.Count(
            ended: time, duration: duration, repositories: counted.repositories, logicalBytes: counted.logicalBytes,
            storeBytes: counted.used[0], largest: Array(Self.sorted(counted.holders).prefix(Self.largest)))
    }

    private static func sorted(_ holders: [String: Int64]) -> [QuotaUsage.Holder] {
        holders.map { QuotaUsage.Holder(repository: $0.key, bytes: $0.value) }
            .sorted { ($1.bytes, $0.repository) < ($0.bytes, $1.repository) }
    }

    /// The place of a repository in a walk, comparable with others of that walk: it sorts as the keys that are walked.
    static func place(_ repository: String, _ walk: QuotaLedger.Walk) -> String {
        switch walk {
        case .pushed: String(repository.map { $0 == "/" ? "!" : $0 })
        case .droplets: repository + "/"
        // Caches have a key for each stack below their guid.
        case .bits: repository.hasPrefix("cistern/caches/") ? repository + "/" : repository
        }
    }
}
