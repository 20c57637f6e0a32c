import Glibc
import HTTPTypes
import JSON
import Logging
import Synchronization

/// Something that must be well for the server to be of use.
public struct ReadinessCheck: Sendable {
    public let name: String
    let check: @Sendable () async throws -> String?

    /// - Parameter check: throws if it is not well; what it throws is logged and not shown. What it returns is shown: a
    ///   word for what is not as it should be though the server is of use, or nil.
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
    /// `/healthz`, which says that the process lives, and `/readyz`, which asks some checks: both open to everybody, so
    /// they tell names and whether they are well, and no more. Answers are kept for a second. A server that drains takes no
    /// new connections: who asks it learns that without an answer.
    /// - Parameter checks: asked one after the other; each may take `timeout`.
    public static func health(_ checks: [ReadinessCheck], timeout: Duration = .seconds(5)) -> Routes {
        let readiness = Readiness(checks: checks, timeout: timeout)
        var routes = Routes()
        routes.get("/healthz", execution: .eventLoop) { _ in .text("ok\n") }
        routes.get("/readyz") { request in
            let answer = await readiness.answer(request)
            return .json(
                [
                    "status": .string(answer.isReady ? "ready" : "not ready"),
                    "checks": .object(answer.checks.mapValues { .string($0) }),
                ], status: answer.isReady ? .ok : .serviceUnavailable)
        }
        return routes
    }
}

/// Asks checks, at most once a second and by one asker at a time.
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
        // Who asked may have gone away, which cancels the checks. The others then ask for themselves.
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
