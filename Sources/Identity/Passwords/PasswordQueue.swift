/// Passwords that wait to be checked, in a fair order: addresses take turns, however many passwords each of them sent,
/// and credentials that were good before come first.
///
/// Who has only a few waiting displaces the last of those who have more when the queue is full.
struct PasswordQueue<Work> {
    enum Added {
        case taken
        /// Another one had to leave.
        case displaced(Work)
        case refused
    }

    private struct Entry {
        let work: Work
        let address: ClientAddress
        /// Lower ones come first: the turn of the address in which this one is due.
        let turn: Int
    }

    /// That wait or are being checked.
    let maximum: Int
    let maximumOfAddress: Int
    /// In the order in which they came.
    private var waiting: [Entry] = []
    private var running = 0
    private var held: [ClientAddress: Int] = [:]
    private var turn = 1

    init(maximum: Int, maximumOfAddress: Int) {
        self.maximum = maximum
        self.maximumOfAddress = maximumOfAddress
    }

    var isEmpty: Bool { waiting.isEmpty }

    /// - Parameter wasGood: the credentials were good before.
    mutating func add(_ work: Work, from address: ClientAddress, wasGood: Bool) -> Added {
        let count = held[address] ?? 0
        guard wasGood || count < maximumOfAddress else { return .refused }
        let entry = Entry(work: work, address: address, turn: wasGood ? 0 : turn + count)
        var result = Added.taken
        if waiting.count + running >= maximum {
            guard let last = last(), waiting[last].turn > entry.turn else { return .refused }
            let displaced = waiting.remove(at: last)
            release(displaced.address)
            result = .displaced(displaced.work)
        }
        waiting.append(entry)
        held[address, default: 0] += 1
        return result
    }

    /// The next one to be checked. `finished` must follow.
    mutating func next() -> (work: Work, address: ClientAddress)? {
        guard let first = waiting.indices.min(by: { (waiting[$0].turn, $0) < (waiting[$1].turn, $1) }) else {
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
        waiting.indices.max { (waiting[$0].turn, $0) < (waiting[$1].turn, $1) }
    }

    private mutating func release(_ address: ClientAddress) {
        let count = (held[address] ?? 0) - 1
        held[address] = count > 0 ? count : nil
    }
}
