import HTTPTypes
import JSON
import Logging
import Synchronization

/// Something that must be well for the server to be of use.
public struct ReadinessCheck: Sendable {
    public let name: String
    let check: @Sendable () async throws -> Void

    /// - Parameter check: throws if it is not well. What it throws is logged and not shown.
    public init(_ name: String, _ check: @escaping @Sendable () async throws -> Void) {
        self.name = name
        self.check = check
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
        routes.get("/healthz", access: .open, execution: .eventLoop) { _ in .text("ok\n") }
        routes.get("/readyz", access: .open) { request in
            let failed = await readiness.failures(request)
            let members = checks.map { ($0.name, JSONValue.string(failed.contains($0.name) ? "failed" : "ok")) }
            return .json(
                [
                    "status": .string(failed.isEmpty ? "ready" : "not ready"),
                    "checks": .object(Dictionary(members, uniquingKeysWith: { $1 })),
                ], status: failed.isEmpty ? .ok : .serviceUnavailable)
        }
        return routes
    }
}

/// Asks checks, at most once a second and by one asker at a time.
private actor Readiness {
    private let checks: [ReadinessCheck]
    private let timeout: Duration
    private var asked: (at: ContinuousClock.Instant, failures: [String])?
    private var waiting: [CheckedContinuation<[String], Never>]?

    init(checks: [ReadinessCheck], timeout: Duration) {
        self.checks = checks
        self.timeout = timeout
    }

    func failures(_ request: Request) async -> [String] {
        if let asked, .now - asked.at < .seconds(1) { return asked.failures }
        if waiting != nil { return await withCheckedContinuation { waiting?.append($0) } }
        waiting = []
        var failures: [String] = []
        for check in checks where await !run(check, request) { failures.append(check.name) }
        asked = (.now, failures)
        let others = waiting ?? []
        waiting = nil
        for continuation in others { continuation.resume(returning: failures) }
        return failures
    }

    private func run(_ check: ReadinessCheck, _ request: Request) async -> Bool {
        let timeout = timeout
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await check.check() }
                group.addTask {
                    try await Task.sleep(for: timeout)
                    throw CancellationError()
                }
                defer { group.cancelAll() }
                try await group.next()
            }
            return true
        } catch {
            request.logger.error("not ready", metadata: ["check": "\(check.name)", "reason": "\(error)"])
            return false
        }
    }
}
