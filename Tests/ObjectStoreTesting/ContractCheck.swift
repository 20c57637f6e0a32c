public import ObjectStore
public import Testing

/// One sentence of the object store's contract, checked against any driver.
///
/// A driver's tests run them all in one line:
///
///     @Test("The memory driver keeps the contract", arguments: ContractCheck.all)
///     func contract(_ check: ContractCheck) async throws { try await check.verify(on: MemoryObjectStore()) }
///
/// Each check begins with an empty store and must leave it empty.
public struct ContractCheck: Sendable, CustomTestStringConvertible {
    public let sentence: String
    private let run: @Sendable (any ObjectStore) async throws -> Void

    init(_ sentence: String, _ run: @escaping @Sendable (any ObjectStore) async throws -> Void) {
        self.sentence = sentence
        self.run = run
    }

    public var testDescription: String { sentence }

    /// What every driver keeps.
    public static let all: [ContractCheck] =
        smallObjects + conditions + keys + listings + components + streams + readers + concurrency

    /// Runs the check and fails if it leaves anything in the store.
    public func verify(on store: any ObjectStore) async throws {
        try await #require(
            store.list(prefix: "", startAfter: nil, limit: 1).isEmpty, "the store must be empty at first")
        try await run(store)
        try await store.sync()
        let left = try await store.list(prefix: "", startAfter: nil, limit: 10).map(\.key.text)
        #expect(left == [], "the check left something in the store")
    }
}
