/// The order in which tasks are run: the spaces take turns, and within a space the first comes first, so that a space
/// with a thousand tasks does not hold up another's one.
struct StagingQueue: Sendable {
    private var waiting: [String: [String]] = [:]
    private var running: [String: Int] = [:]
    /// When a space was last served, as a count of turns.
    private var served: [String: Int] = [:]
    private var turns = 0

    /// How many wait.
    private(set) var count = 0

    /// What waits, in no order of its own.
    var guids: some Sequence<String> { waiting.values.lazy.joined() }

    mutating func add(_ guid: String, space: String) {
        waiting[space, default: []].append(guid)
        count += 1
    }

    /// Takes a task out that waits.
    /// - Returns: whether it was there.
    mutating func remove(_ guid: String, space: String) -> Bool {
        guard let place = waiting[space]?.firstIndex(of: guid) else { return false }
        waiting[space]?.remove(at: place)
        forget(space)
        count -= 1
        return true
    }

    /// The task that is next: of the space with the fewest that run and, among these, the one that was served longest
    /// ago. It counts as running until `end`.
    mutating func next() -> (guid: String, space: String)? {
        let space = waiting.keys.min { left, right in
            (running[left] ?? 0, served[left] ?? -1, left) < (running[right] ?? 0, served[right] ?? -1, right)
        }
        guard let space, let guid = waiting[space]?.first else { return nil }
        waiting[space]?.removeFirst()
        count -= 1
        turns += 1
        served[space] = turns
        running[space, default: 0] += 1
        return (guid, space)
    }

    /// A task of a space does not run any more.
    mutating func end(space: String) {
        running[space] = (running[space] ?? 1) - 1
        if running[space] == 0 { running[space] = nil }
        forget(space)
    }

    private mutating func forget(_ space: String) {
        if waiting[space]?.isEmpty ?? false { waiting[space] = nil }
        if waiting[space] == nil, running[space] == nil { served[space] = nil }
    }
}
