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
        @usableFromInline var now = Mark()

        @inlinable init(now: Mark = Mark()) { self.now = now }
    }

    /// A moment between two changes.
    package struct Mark: Sendable {
        @usableFromInline var removals: UInt64 = 0
        @usableFromInline var updates: UInt64 = 0

        @inlinable init() {}
    }

    @usableFromInline let maximumCost: Int
    @usableFromInline let state: Mutex<State>

    /// - Parameter maximumCost: the bound of all values' costs together, in the unit of `insert`.
    package init(maximumCost: Int) {
        self.maximumCost = maximumCost
        state = Mutex(State())
    }

    /// A mark for `insert` and `update`. Take it before loading a value, or before changing what the value is made of:
    /// what others change meanwhile is noticed.
    @inlinable package var mark: Mark { state.withLock { $0.now } }

    @inlinable package func value(_ key: Key) -> Value? {
        state.withLock { state in
            if let entry = state.young[key] { return entry.value }
            guard let entry = state.old.removeValue(forKey: key) else { return nil }
            add(entry, key, to: &state)
            return entry.value
        }
    }

    /// Keeps a value, unless something was removed or updated since the mark was taken.
    @inlinable package func insert(_ value: Value, for key: Key, cost: Int, since mark: Mark? = nil) {
        state.withLock { state in
            if let mark, (mark.removals, mark.updates) != (state.now.removals, state.now.updates) { return }
            remove(key, from: &state)
            add(Entry(value: value, cost: cost), key, to: &state)
        }
    }

    /// Changes a value that is kept. If something was removed since the mark was taken, perhaps what this is about to
    /// add, the value is removed as well.
    ///
    /// Updates of one value may come in another order than the changes that they tell of.
    /// - Parameter change: gives the new value and its cost, or nil to remove the value.
    @inlinable package func update(
        _ key: Key, since mark: Mark, _ change: (Value) -> (value: Value, cost: Int)?
    ) {
        state.withLock { state in
            state.now.updates &+= 1
            let old = state.young[key] ?? state.old[key]
            remove(key, from: &state)
            guard let old, mark.removals == state.now.removals, let new = change(old.value) else { return }
            add(Entry(value: new.value, cost: new.cost), key, to: &state)
        }
    }

    @inlinable package func remove(_ key: Key) {
        state.withLock { state in
            state.now.removals &+= 1
            remove(key, from: &state)
        }
    }

    @inlinable package func removeAll() {
        state.withLock { state in
            var now = state.now
            now.removals &+= 1
            state = State(now: now)
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
