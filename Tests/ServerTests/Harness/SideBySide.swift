import Synchronization
import Testing

/// How suites of live servers share the machine: each runs its own tests one after the other (`.serialized`), and a few
/// suites run at the same time. More would only make deadlines come near that are not what a test is about.
struct SideBySide: SuiteTrait, TestScoping {
    private static let places = Places(4)

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        try await Self.places.with { try await function() }
    }
}

extension Trait where Self == SideBySide {
    /// Of suites whose tests start servers of their own.
    static var sideBySide: Self { SideBySide() }
}

/// A number of places; who finds none free waits until one is left, first come, first served.
final class Places: Sendable {
    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    init(_ count: Int) { state = Mutex(State(free: count)) }

    func with<Value>(_ body: () async throws -> Value) async throws -> Value {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                guard state.free > 0 else {
                    state.waiting.append(continuation)
                    return false
                }
                state.free -= 1
                return true
            }
            if isFree { continuation.resume() }
        }
        defer {
            let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
                if state.waiting.isEmpty { state.free += 1 }
                return state.waiting.isEmpty ? nil : state.waiting.removeFirst()
            }
            next?.resume()
        }
        return try await body()
    }
}
