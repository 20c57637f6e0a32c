import Foundation

/// Runs blocking work (waiting for a process, reading a pipe) on a thread of its own, so that tests running at the same
/// time keep theirs.
package func onThread<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread {
            continuation.resume(with: Result(catching: work))
        }
    }
}

/// Milliseconds until an instant, for `poll`: at least 0, and rounded up, so that a wait never ends just too early.
func milliseconds(until deadline: ContinuousClock.Instant) -> Int32 {
    let left = ContinuousClock.now.duration(to: deadline)
    guard left > .zero else { return 0 }
    let (seconds, attoseconds) = left.components
    return Int32(clamping: seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1)
}

/// A pair of connected descriptors that no child inherits by accident: a pipe could be made so only after a moment in
/// which another thread starts a child, which would then hold its end open.
func channel() throws -> (readEnd: Int32, writeEnd: Int32) {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
        throw CommandError.notStarted("a socket pair", errno)
    }
    return (ends[0], ends[1])
}
