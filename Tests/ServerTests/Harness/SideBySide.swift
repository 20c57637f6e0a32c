import TestSupport
import Testing

/// How suites of live servers share the machine: each runs its own tests one after the other (`.serialized`), and a few
/// suites run at the same time. More would only make deadlines come near that are not what a test is about.
struct SideBySide: SuiteTrait, TestScoping {
    private static let places = Places(4)

    let isLong: Bool

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        try await Self.places.with(isUrgent: isLong) { try await function() }
    }
}

extension Trait where Self == SideBySide {
    /// Of suites whose tests start servers of their own.
    static var sideBySide: Self { SideBySide(isLong: false) }

    /// The same of suites that take minutes: they begin first, lest everybody waits for them at the end.
    static var longSideBySide: Self { SideBySide(isLong: true) }
}
