/// Selects the smallest of many names while holding only about twice as many as are wanted.
struct SmallestNames {
    private let limit: Int
    private var names: [[UInt8]] = []
    /// Names from this one on are not among the smallest; nil as long as any name may be.
    private var bound: [UInt8]?

    init(limit: Int) { self.limit = max(1, limit) }

    func wouldTake(_ name: ChildName) -> Bool { bound.map { name.isBefore($0) } ?? true }

    mutating func insert(_ name: ChildName) {
        names.append(name.bytes)
        if names.count > 2 * limit { shrink() }
    }

    private mutating func shrink() {
        names.sort { $0.lexicographicallyPrecedes($1) }
        bound = names[limit]
        names.removeSubrange(limit...)
    }

    /// - Returns: at most `limit` names, and whether these are all that there were.
    consuming func sorted() -> (names: [[UInt8]], isComplete: Bool) {
        if names.count > limit { shrink() }
        names.sort { $0.lexicographicallyPrecedes($1) }
        return (names, bound == nil)
    }
}
