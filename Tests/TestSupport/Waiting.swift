import Foundation

/// A condition that did not come true in time.
public struct TimedOut: Error, CustomStringConvertible {
    public let description: String
}

/// Waits until a condition holds, asking every 20 ms. For facts that only another program can bring about.
/// - Parameter limit: only a test that fails waits so long; a loaded machine may need much of it.
/// - Throws: `TimedOut` naming what was waited for; whatever the condition throws.
public func waitUntil(
    _ what: String, within limit: Duration = .seconds(60), _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw TimedOut(description: "not within \(limit): \(what)") }
        try await onThread { _ = poll(nil, 0, 20) }
    }
}

/// Waits until a condition gives a value, asking every 20 ms.
/// - Throws: `TimedOut` naming what was waited for; whatever the condition throws.
public func waitFor<Value>(
    _ what: String, within limit: Duration = .seconds(60), _ condition: () async throws -> Value?
) async throws -> Value {
    var found: Value?
    try await waitUntil(what, within: limit) {
        found = try await condition()
        return found != nil
    }
    guard let found else { throw TimedOut(description: what) }
    return found
}
