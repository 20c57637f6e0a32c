import Synchronization

/// What several tasks did to a store, and whether a state that is found later can come from it.
///
/// Each task has keys of its own and knows the order of its operations. Of two tasks' operations one came first if it
/// had ended before the other began.
final class History: Sendable {
    enum Effect: Sendable {
        case write(key: String, content: [UInt8])
        case delete(key: String)
        /// The counter that all tasks share was raised to this.
        case count(Int)
    }

    struct Operation: Sendable {
        let effect: Effect
        let began: Int
        /// nil if power was cut before.
        var ended: Int?
        var mustSurvive = false

        var summary: String {
            switch effect {
            case .write(let key, let content): "write \(key) (\(content.count) bytes)"
            case .delete(let key): "delete \(key)"
            case .count(let value): "count \(value)"
            }
        }
    }

    struct State: Equatable, Sendable {
        var objects: [String: [UInt8]]
        var counter: Int
    }

    private let clock = Atomic<Int>(0)
    private let tasks: Mutex<[[Operation]]>
    private let start: State

    init(tasks count: Int, from start: State) {
        tasks = Mutex(Array(repeating: [], count: count))
        self.start = start
    }

    func now() -> Int { clock.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue }

    /// Records an operation that is about to begin. Nothing is kept of one that is cancelled.
    func begin(_ task: Int, _ effect: Effect) {
        let operation = Operation(effect: effect, began: now())
        tasks.withLock { $0[task].append(operation) }
    }

    func cancel(_ task: Int) { tasks.withLock { _ = $0[task].removeLast() } }

    func end(_ task: Int, isDurable: Bool) {
        let time = now()
        tasks.withLock { tasks in
            let last = tasks[task].count - 1
            tasks[task][last].ended = time
            tasks[task][last].mustSurvive = isDurable
        }
    }

    /// Everything that had ended when a sync that succeeded began must survive.
    func synced(since time: Int) {
        tasks.withLock { tasks in
            for task in tasks.indices {
                for index in tasks[task].indices {
                    if let ended = tasks[task][index].ended, ended < time { tasks[task][index].mustSurvive = true }
                }
            }
        }
    }

    var operationCount: Int { tasks.withLock { $0.reduce(0) { $0 + $1.count } } }

    /// Why a state can't be what some prefix of the history left; nil if it can.
    func contradiction(_ found: State) -> String? {
        let tasks = tasks.withLock { $0 }
        let possible = tasks.indices.map { prefixes(of: tasks[$0], task: $0, found) }
        var atLeast = tasks.map { operations in (operations.lastIndex { $0.mustSurvive } ?? -1) + 1 }
        var chosen = tasks.map { _ in 0 }
        while true {
            for task in tasks.indices {
                guard let prefix = possible[task].first(where: { $0 >= atLeast[task] }) else {
                    return """
                        task \(task): of \(tasks[task].count) operations the first \(atLeast[task]) must be there, but \
                        the state is that after \(possible[task]); counter \(found.counter); the last operations: \
                        \(tasks[task].suffix(3).map(\.summary))
                        """
                }
                chosen[task] = prefix
            }
            // What had ended before something began that is there must be there, too.
            var isSettled = true
            for task in tasks.indices {
                guard let began = tasks[task].prefix(chosen[task]).last?.began else { continue }
                for other in tasks.indices {
                    let needed = (tasks[other].lastIndex { $0.ended.map { $0 < began } ?? false } ?? -1) + 1
                    if needed > chosen[other] {
                        atLeast[other] = max(atLeast[other], needed)
                        isSettled = false
                    }
                }
            }
            if isSettled { break }
        }
        let strangers = found.objects.keys.filter { key in
            !tasks.indices.contains { key.hasPrefix("t\($0)/") } && key != "counter"
        }
        return strangers.isEmpty ? nil : "unknown objects: \(strangers)"
    }

    /// How many of a task's operations may have happened, all of them before the rest.
    private func prefixes(of operations: [Operation], task: Int, _ found: State) -> [Int] {
        func own(_ objects: [String: [UInt8]]) -> [String: [UInt8]] {
            objects.filter { $0.key.hasPrefix("t\(task)/") }
        }
        let target = own(found.objects)
        var objects = own(start.objects)
        var possible: [Int] = []
        for count in 0...operations.count {
            if count > 0 {
                switch operations[count - 1].effect {
                case .write(let key, let content): objects[key] = content
                case .delete(let key): objects[key] = nil
                case .count(let value): if value > found.counter { return possible }
                }
            }
            let isCounted = operations[count...].allSatisfy { operation in
                // One that was cut off may have lost the race for this number.
                if case .count(let value) = operation.effect {
                    value > found.counter || operation.ended == nil
                } else {
                    true
                }
            }
            if isCounted, objects == target { possible.append(count) }
        }
        return possible
    }
}
