import NIOCore

/// Passwords that wait to be checked, in a fair order: addresses take turns, however many passwords each of them sent,
/// and credentials that were good before come first. Those that cost more than usual come some rounds later, so that
/// others don't wait for them.
///
/// When the queue is full, the password of an address with few of them displaces the last one of an address with more.
struct PasswordQueue<Work> {
    enum Added {
        case taken
        /// The work was taken, and this other work had to leave the queue for it.
        case displaced(Work)
        case refused
    }

    private struct Entry {
        let work: Work
        let address: ClientAddress
        /// The round that this password belongs to. Credentials that were good before have 0, others are spread over the
        /// rounds to come, one for each password of their address.
        let turn: Int
        /// Lower ones are checked first: the round, or a later one that the password gives way to.
        let place: Int
        let end: NIODeadline
    }

    /// How many passwords may wait or be in checking.
    let maximum: Int
    let maximumOfAddress: Int
    /// Passwords that wait, in the order in which they came.
    private var waiting: [Entry] = []
    private var running = 0
    private var held: [ClientAddress: Int] = [:]
    private var turn = 1

    init(maximum: Int, maximumOfAddress: Int) {
        self.maximum = maximum
        self.maximumOfAddress = maximumOfAddress
    }

    var isEmpty: Bool { waiting.isEmpty }

    /// Adds a password to be checked.
    /// - Parameters:
    ///   - wasGood: whether the credentials were good before.
    ///   - extraCost: by how much the cost is higher than the usual one: for so many rounds it gives way.
    ///   - end: when it has waited for too long.
    mutating func add(
        _ work: Work, from address: ClientAddress, wasGood: Bool, extraCost: Int = 0,
        until end: NIODeadline = .distantFuture
    ) -> Added {
        let count = held[address] ?? 0
        guard wasGood || count < maximumOfAddress else { return .refused }
        let own = wasGood ? 0 : turn + count
        let entry = Entry(
            work: work, address: address, turn: own, place: wasGood ? 0 : own + extraCost, end: end)
        var result = Added.taken
        if waiting.count + running >= maximum {
            guard let last = last(), waiting[last].place > entry.place else { return .refused }
            let displaced = waiting.remove(at: last)
            release(displaced.address)
            result = .displaced(displaced.work)
        }
        waiting.append(entry)
        held[address, default: 0] += 1
        return result
    }

    /// Takes out the passwords that have waited for too long.
    mutating func removeLate(_ now: NIODeadline) -> [Work] {
        let late = waiting.filter { $0.end <= now }
        guard !late.isEmpty else { return [] }
        waiting.removeAll { $0.end <= now }
        for entry in late { release(entry.address) }
        return late.map(\.work)
    }

    /// Takes the next password to be checked; nil if none waits. `finished` must follow.
    mutating func next() -> (work: Work, address: ClientAddress)? {
        guard let first = waiting.indices.min(by: { (waiting[$0].place, $0) < (waiting[$1].place, $1) }) else {
            return nil
        }
        let entry = waiting.remove(at: first)
        turn = max(turn, entry.turn)
        running += 1
        return (entry.work, entry.address)
    }

    mutating func finished(_ address: ClientAddress) {
        running -= 1
        release(address)
    }

    private func last() -> Int? {
        waiting.indices.max { (waiting[$0].place, $0) < (waiting[$1].place, $1) }
    }

    private mutating func release(_ address: ClientAddress) {
        let count = (held[address] ?? 0) - 1
        held[address] = count > 0 ? count : nil
    }
}
