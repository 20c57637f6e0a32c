import Synchronization

/// Runs verifications that were asked for, one at a time, and remembers how the last one went.
public final class VerificationRunner: Sendable {
    public struct Request: Hashable, Sendable {
        /// Bytes a second.
        public let rate: Int64
        public let repair: Bool

        public init(rate: Int64, repair: Bool) {
            self.rate = rate
            self.repair = repair
        }
    }

    public struct Status: Hashable, Sendable {
        /// Of the one that runs or is about to; nil if none does.
        public fileprivate(set) var running: VerificationReport?
        public fileprivate(set) var last: VerificationReport?
        /// In nanoseconds since 1970.
        public fileprivate(set) var lastEnded: Int64?
        /// Why the last one did not come to its end.
        public fileprivate(set) var failure: String?
    }

    private let verifier: Verifier
    private let now: @Sendable () -> Int64
    private let state = Mutex(Status())
    private let requests: AsyncStream<Request>
    private let continuation: AsyncStream<Request>.Continuation

    /// - Parameter now: nanoseconds since 1970.
    public init(verifier: Verifier, now: @escaping @Sendable () -> Int64) {
        self.verifier = verifier
        self.now = now
        (requests, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1))
    }

    public var status: Status { state.withLock { $0 } }

    /// Has a verification begun. It goes on while the one who asked does something else.
    /// - Throws: `.verifying` if one runs already.
    public func begin(_ request: Request) throws(RegistryError) {
        let isFree = state.withLock { state in
            guard state.running == nil else { return false }
            state.running = VerificationReport()
            return true
        }
        guard isFree else { throw .verifying }
        continuation.yield(request)
    }

    /// Works until it is cancelled.
    public func run() async {
        for await request in requests {
            do throws(RegistryError) {
                let report = try await verifier.verify(rate: request.rate, repair: request.repair) { progress in
                    state.withLock { $0.running = progress }
                }
                let now = now()
                state.withLock { $0 = Status(running: nil, last: report, lastEnded: now, failure: nil) }
            } catch {
                state.withLock { state in
                    state.running = nil
                    state.failure = "\(error)"
                }
            }
        }
    }
}
