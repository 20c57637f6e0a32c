package import Synchronization

/// A cache of values up to a bound: when that is reached, values that were not used of late are dropped.
///
/// Two generations instead of a list: a value that is used moves to the young one; when the young one holds half of the
/// bound, it becomes the old one and the former old one is dropped. Every operation takes constant time.
///
/// Its code is inlinable, since it is on the way of every request, and generic code of another module is slow.
package final class BoundedCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    @usableFromInline struct Entry {
        @usableFromInline let value: Value
        @usableFromInline let cost: Int

        @inlinable init(value: Value, cost: Int) {
            self.value = value
            self.cost = cost
        }
    }

    @usableFromInline struct State {
        @usableFromInline var young: [Key: Entry] = [:]
        @usableFromInline var old: [Key: Entry] = [:]
        @usableFromInline var youngCost = 0
        @usableFromInline var changes: UInt64 = 0

        @inlinable init(changes: UInt64 = 0) { self.changes = changes }
    }

    @usableFromInline let maximumCost: Int
    @usableFromInline let state: Mutex<State>

    /// - Parameter maximumCost: the bound of all values' costs together, in the unit of `insert`.
    package init(maximumCost: Int) {
        self.maximumCost = maximumCost
        state = Mutex(State())
    }

    /// A mark for `insert`. Take it before loading a value, and the value is not kept if something was removed
    /// meanwhile.
    @inlinable package var mark: UInt64 { state.withLock { $0.changes } }

    @inlinable package func value(_ key: Key) -> Value? {
        state.withLock { state in
            if let entry = state.young[key] { return entry.value }
            guard let entry = state.old.removeValue(forKey: key) else { return nil }
            add(entry, key, to: &state)
            return entry.value
        }
    }

    /// Keeps a value, unless something was removed since the mark was taken.
    @inlinable package func insert(_ value: Value, for key: Key, cost: Int, since mark: UInt64? = nil) {
        state.withLock { state in
            guard mark == nil || mark == state.changes else { return }
            remove(key, from: &state)
            add(Entry(value: value, cost: cost), key, to: &state)
        }
    }

    @inlinable package func remove(_ key: Key) {
        state.withLock { state in
            state.changes &+= 1
            remove(key, from: &state)
        }
    }

    @inlinable package func removeAll() {
        state.withLock { state in
            state = State(changes: state.changes &+ 1)
        }
    }

    @inlinable func add(_ entry: Entry, _ key: Key, to state: inout State) {
        if state.youngCost + entry.cost > maximumCost / 2, !state.young.isEmpty {
            state.old = state.young
            state.young = [:]
            state.youngCost = 0
        }
        state.young[key] = entry
        state.youngCost += entry.cost
    }

    @inlinable func remove(_ key: Key, from state: inout State) {
        if let entry = state.young.removeValue(forKey: key) { state.youngCost -= entry.cost }
        state.old.removeValue(forKey: key)
    }
}
