import Glibc
import HTTPTypes
import JSON
import Logging
import Synchronization

/// A check that must succeed for the server to be ready.
public struct ReadinessCheck: Sendable {
    public let name: String
    let check: @Sendable () async throws -> String?

    /// - Parameter check: throws if the server is not ready; the error is logged and not shown. It returns nil, or a
    ///   word to show for a problem with which the server is ready all the same.
    public init(_ name: String, _ check: @escaping @Sendable () async throws -> String?) {
        self.name = name
        self.check = check
    }

    private struct Exhausted: Error {}

    /// Whether a user's request would find memory.
    public static func memory(_ budget: Budget) -> ReadinessCheck {
        ReadinessCheck("memory") {
            guard budget.hasRoom else { throw Exhausted() }
            return nil
        }
    }

    /// Whether a file can be opened.
    public static let descriptors = ReadinessCheck("descriptors") {
        let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Exhausted() }
        close(descriptor)
        return nil
    }
}

extension Routes {
    /// `/healthz`, which says that the process lives, and `/readyz`, which runs some checks. Both are open to
    /// everybody, so they show the checks' names and outcomes, and no more. Outcomes are kept for a second. A server
    /// that drains accepts no new connections, so a probe learns that without an answer.
    /// - Parameter checks: run one after the other; each may take `timeout`.
    public static func health(_ checks: [ReadinessCheck], timeout: Duration = .seconds(5)) -> Routes {
        let readiness = Readiness(checks: checks, timeout: timeout)
        var routes = Routes()
        routes.get("/healthz", execution: .eventLoop) { _ in .text("ok\n") }
        routes.get("/readyz") { request in
            let answer = await readiness.answer(request)
            return .json(
                [
                    "status": .string(answer.isReady ? "ready" : "not ready"),
                    "checks": .object(JSONObject(answer.checks.mapValues { .string($0) })),
                ], status: answer.isReady ? .ok : .serviceUnavailable)
        }
        return routes
    }
}

/// Runs the checks, at most once a second and for one request at a time; others wait for the outcome.
private actor Readiness {
    struct Answer {
        var isReady = true
        /// By name: `ok`, `failed`, or what a check says.
        var checks: [String: String] = [:]
    }

    private let checks: [ReadinessCheck]
    private let timeout: Duration
    private var asked: (at: ContinuousClock.Instant, answer: Answer)?
    private var waiting: [CheckedContinuation<Answer?, Never>]?

    init(checks: [ReadinessCheck], timeout: Duration) {
        self.checks = checks
        self.timeout = timeout
    }

    func answer(_ request: Request) async -> Answer {
        while true {
            if let asked, .now - asked.at < .seconds(1) { return asked.answer }
            guard waiting != nil else { return await ask(request) }
            if let answer = await withCheckedContinuation({ waiting?.append($0) }) { return answer }
        }
    }

    private func ask(_ request: Request) async -> Answer {
        waiting = []
        var answer = Answer()
        for check in checks where !Task.isCancelled {
            do { answer.checks[check.name] = try await run(check) ?? "ok" } catch {
                request.logger.error("not ready", metadata: ["check": "\(check.name)", "reason": "\(error)"])
                answer.checks[check.name] = "failed"
                answer.isReady = false
            }
        }
        // The client of this request may have gone away, which cancels the checks. Other requests then run them again.
        let isWhole = !Task.isCancelled
        if isWhole { asked = (.now, answer) }
        let others = waiting ?? []
        waiting = nil
        for continuation in others { continuation.resume(returning: isWhole ? answer : nil) }
        return answer
    }

    private func run(_ check: ReadinessCheck) async throws -> String? {
        let timeout = timeout
        return try await withThrowingTaskGroup(of: String?.self) { group in
            group.addTask { try await check.check() }
            group.addTask {
                try await Task.sleep(for: timeout)
                throw CancellationError()
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }
}
