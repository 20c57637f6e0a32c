import Foundation
import TestSupport

/// A random moment at which a server dies, among what its clients do.
struct KillMoment: CustomStringConvertible, Sendable {
    /// After so many acknowledgements …
    private let acknowledgements: Int
    /// … and so long.
    private let microseconds: UInt32

    init(acknowledgements: ClosedRange<Int>, microseconds: ClosedRange<UInt32>, random: inout SeededRandom) {
        self.acknowledgements = Int.random(in: acknowledgements, using: &random)
        self.microseconds = UInt32.random(in: microseconds, using: &random)
    }

    var description: String { "killed \(microseconds) µs after \(acknowledgements) acknowledgements" }

    func kill(_ server: KillableServer, after acknowledged: Counter) async throws {
        try await onThread {
            let deadline = ContinuousClock.now + .seconds(60)
            while acknowledged.value < acknowledgements, ContinuousClock.now < deadline { usleep(200) }
            // Not to wait for anything: this is the random moment.
            usleep(microseconds)
        }
        try await server.kill()
    }
}
