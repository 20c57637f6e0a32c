import Synchronization

/// A cache of values up to a bound: when that is reached, values that were not used of late are dropped.
///
/// Two generations instead of a list: a value that is used moves to the young one; when the young one holds half of the
/// bound, it becomes the old one and the former old one is dropped. Every operation takes constant time.
package final class BoundedCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Entry {
        let value: Value
        let cost: Int
    }

    private struct State {
        var young: [Key: Entry] = [:]
        var old: [Key: Entry] = [:]
        var youngCost = 0
        var changes: UInt64 = 0
    }

    private let maximumCost: Int
    private let state = Mutex(State())

    /// - Parameter maximumCost: the bound of all values' costs together, in the unit of `insert`.
    package init(maximumCost: Int) { self.maximumCost = maximumCost }

    /// A mark for `insert`. Take it before loading a value, and the value is not kept if something was removed
    /// meanwhile.
    package var mark: UInt64 { state.withLock { $0.changes } }

    package func value(_ key: Key) -> Value? {
        state.withLock { state in
            if let entry = state.young[key] { return entry.value }
            guard let entry = state.old.removeValue(forKey: key) else { return nil }
            add(entry, key, to: &state)
            return entry.value
        }
    }

    /// Keeps a value, unless something was removed since the mark was taken.
    package func insert(_ value: Value, for key: Key, cost: Int, since mark: UInt64? = nil) {
        state.withLock { state in
            guard mark == nil || mark == state.changes else { return }
            remove(key, from: &state)
            add(Entry(value: value, cost: cost), key, to: &state)
        }
    }

    package func remove(_ key: Key) {
        state.withLock { state in
            state.changes &+= 1
            remove(key, from: &state)
        }
    }

    package func removeAll() {
        state.withLock { state in
            state = State(changes: state.changes &+ 1)
        }
    }

    private func add(_ entry: Entry, _ key: Key, to state: inout State) {
        if state.youngCost + entry.cost > maximumCost / 2, !state.young.isEmpty {
            state.old = state.young
            state.young = [:]
            state.youngCost = 0
        }
        state.young[key] = entry
        state.youngCost += entry.cost
    }

    private func remove(_ key: Key, from state: inout State) {
        if let entry = state.young.removeValue(forKey: key) { state.youngCost -= entry.cost }
        state.old.removeValue(forKey: key)
    }
}
