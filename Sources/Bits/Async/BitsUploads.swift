import JSON
package import Logging
package import Operations
import Synchronization

/// Tells the cloud controller what came of bits.
package protocol BitsListener: Sendable {
    /// - Throws: if it is to be tried again. What the controller refuses for good counts as told.
    func tell(_ job: BitsJob) async throws
}

/// Finishes uploads whose clients don't wait, and tells the controller the outcome: `?async=true`.
///
/// What is to be done stands in the store (`BitsJob`). This goes through it now and then, and at once when something was
/// added; so whatever a process leaves behind, the next one goes on with. Each upload is finished as an operation, so
/// that operators see it. Telling is tried again, ever more seldom, for a day.
package final class BitsUploads: Sendable {
    /// How often telling is tried, at the most: each time after twice the pause, up to the longest.
    private static let firstPause: Int64 = 1_000_000_000
    private static let longestPause: Int64 = 300_000_000_000
    private static let patience: Int64 = 86_400_000_000_000
    /// How many outcomes are told at the same time.
    private static let width = 8

    private struct State {
        /// Being finished by an operation.
        var running: Set<String> = []
        /// When the next attempt is due, and after which pause.
        var attempts: [String: (due: Int64, pause: Int64)] = [:]
    }

    package let catalog: BitsCatalog
    private let operations: OperationRunner
    private let listener: (any BitsListener)?
    private let now: @Sendable () -> Int64
    private let pause: @Sendable () async throws -> Void
    private let logger: Logger
    private let state = Mutex(State())
    private let wakes: AsyncStream<Void>
    private let alarm: AsyncStream<Void>.Continuation

    /// - Parameters:
    ///   - listener: who is told; nil: nobody, and uploads are over once they are finished.
    ///   - now: nanoseconds since 1970.
    ///   - pause: waits until the store is looked through again.
    package init(
        catalog: BitsCatalog, operations: OperationRunner, listener: (any BitsListener)?,
        now: @escaping @Sendable () -> Int64,
        pause: @escaping @Sendable () async throws -> Void = { try await Task.sleep(for: .seconds(5)) },
        logger: Logger
    ) {
        self.catalog = catalog
        self.operations = operations
        self.listener = listener
        self.now = now
        self.pause = pause
        self.logger = logger
        (wakes, alarm) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Something was added.
    package func wake() { alarm.yield() }

    /// Goes through all uploads until the task is cancelled.
    package func run() async {
        wake()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while (try? await self.pause()) != nil { self.wake() }
                self.alarm.finish()
            }
            for await _ in wakes {
                do throws(BitsError) { try await look() } catch {
                    if case .cancelled = error { break }
                    logger.warning(
                        "uploads of bits can't be gone through: it is tried again", metadata: ["reason": "\(error)"])
                }
            }
            group.cancelAll()
        }
    }

    /// Goes through all uploads once: begins to finish those that have no outcome, and tells the others'.
    package func look() async throws(BitsError) {
        let jobs = try await catalog.jobs()
        let time = now()
        var due: [BitsJob] = []
        for job in jobs where state.withLock({ $0.attempts[job.id]?.due ?? 0 }) <= time {
            if job.outcome == nil { await begin(job) } else { due.append(job) }
        }
        let ids = Set(jobs.map(\.id))
        state.withLock { state in state.attempts = state.attempts.filter { ids.contains($0.key) } }
        await withTaskGroup(of: Void.self) { group in
            for (index, job) in due.enumerated() {
                if index >= Self.width { await group.next() }
                group.addTask { await self.tell(job) }
            }
        }
    }

    private func begin(_ job: BitsJob) async {
        guard state.withLock({ $0.running.insert(job.id).inserted }) else { return }
        let request = OperationRequest(
            kind: "bits", by: job.by, parameters: ["kind": job.kind, "guid": job.guid, "bytes": "\(job.size)"])
        do throws(OperationError) {
            try await operations.begin(request) { _ in
                defer { self.state.withLock { _ = $0.running.remove(job.id) } }
                do {
                    let finished = try await self.catalog.finish(job)
                    self.wake()
                    return finished.message ?? .null
                } catch {
                    _ = self.postpone(job)
                    throw error
                }
            }
        } catch {
            // There are too many operations, or the server stops: the next round begins it.
            state.withLock { _ = $0.running.remove(job.id) }
        }
    }

    /// - Returns: after which pause the next attempt is due, in nanoseconds.
    private func postpone(_ job: BitsJob) -> Int64 {
        let time = now()
        return state.withLock { state in
            let pause = min((state.attempts[job.id]?.pause ?? Self.firstPause / 2) * 2, Self.longestPause)
            state.attempts[job.id] = (time + pause, pause)
            return pause
        }
    }

    private func tell(_ job: BitsJob) async {
        do {
            if let listener { try await listener.tell(job) }
            try await catalog.forget(job)
        } catch {
            guard now() - job.begun < Self.patience else {
                logger.error(
                    "the controller was not told what came of bits: it is given up",
                    metadata: ["kind": "\(job.kind)", "guid": "\(job.guid)", "reason": "\(error)"])
                try? await catalog.forget(job)
                return
            }
            let pause = postpone(job)
            logger.warning(
                "the controller can't be told what came of bits: it is tried again",
                metadata: [
                    "kind": "\(job.kind)", "guid": "\(job.guid)", "reason": "\(error)",
                    "seconds": "\(pause / 1_000_000_000)",
                ])
        }
    }
}
