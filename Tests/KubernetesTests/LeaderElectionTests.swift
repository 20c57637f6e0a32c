import JSON
import Synchronization
import TestSupport
import Testing

@testable import Kubernetes

/// Keeps one Lease as an API server does: with versions, conflicts and creation once.
private final class LeaseServer: Sendable {
    private struct State {
        var lease: KubernetesObject?
        var version = 0
        var isDown = false
    }
    private let state = Mutex(State())

    var holder: String { state.withLock { $0.lease?.value(at: "spec", "holderIdentity")?.string ?? "" } }
    var lease: KubernetesObject? { state.withLock { $0.lease } }
    func set(down: Bool) { state.withLock { $0.isDown = down } }
    /// Somebody else takes the lease, as after a long pause of the whole process.
    func usurp(_ name: String) {
        state.withLock { state in
            guard var lease = state.lease, var spec = lease["spec"]?.object else { return }
            spec["holderIdentity"] = .string(name)
            lease["spec"] = .object(spec)
            state.version += 1
            lease.resourceVersion = String(state.version)
            state.lease = lease
        }
    }

    func answer(_ request: ScriptedServer.Request, _ connection: ScriptedServer.Connection) {
        let (status, value): (Int, JSONValue) = state.withLock { state in
            if state.isDown { return (503, ["kind": "Status", "code": 503]) }
            let sent = request.json.flatMap(KubernetesObject.init)
            switch request.method {
            case "GET" where state.lease != nil: return (200, state.lease?.value ?? .null)
            case "GET": return (404, ["kind": "Status", "code": 404, "reason": "NotFound"])
            case "POST" where state.lease != nil:
                return (409, ["kind": "Status", "code": 409, "reason": "AlreadyExists"])
            case "PUT" where state.lease?.resourceVersion != sent?.resourceVersion:
                return (409, ["kind": "Status", "code": 409, "reason": "Conflict"])
            default:
                state.version += 1
                state.lease = sent
                state.lease?.resourceVersion = String(state.version)
                return (200, state.lease?.value ?? .null)
            }
        }
        connection.json(status, value)
    }
}

@Suite("Leader election")
struct LeaderElectionTests {
    private static func with<Value: Sendable>(
        _ body: (KubernetesClient, LeaseServer) async throws -> Value
    ) async throws -> Value {
        let leases = LeaseServer()
        var limits = KubernetesClient.Limits()
        limits.requestsPerSecond = 10_000
        limits.attempts = 3
        return try await withClient(limits: limits) { request, _, connection in
            leases.answer(request, connection)
        } _: { client, _ in
            try await body(client, leases)
        }
    }

    private static func election(
        _ client: KubernetesClient, _ identity: String, renewal: Duration = .milliseconds(700)
    ) throws -> LeaderElection {
        var times = LeaderElection.Times()
        times.lease = .seconds(1)
        times.renewal = renewal
        times.pause = .milliseconds(100)
        return try LeaderElection(client, namespace: "cistern", name: "agent", identity: identity, times: times)
    }

    @Test("of several one works at a time, and a lease that is given back is taken at once")
    func oneAtATime() async throws {
        try await Self.with { client, leases in
            let count = Mutex((working: 0, most: 0, turns: 0))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<4 {
                    let election = try Self.election(client, "agent-\(number)")
                    group.addTask {
                        try await election.run {
                            count.withLock { count in
                                count.working += 1
                                count.turns += 1
                                count.most = max(count.most, count.working)
                            }
                            for _ in 0..<100 { await Task.yield() }
                            count.withLock { $0.working -= 1 }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let (most, turns) = count.withLock { ($0.most, $0.turns) }
            #expect(most == 1 && turns == 4)
            #expect(leases.holder.isEmpty)
            #expect(leases.lease?.value(at: "spec", "leaseTransitions") == 3)
            let time = leases.lease?.value(at: "spec", "renewTime")?.string ?? ""
            #expect(time.count == 27 && APITime(time) != nil)
        }
    }

    @Test("a lease whose holder is gone is taken after its duration, seen by the waiting process's own clock")
    func expiry() async throws {
        try await Self.with { client, leases in
            var lease = KubernetesObject(
                apiVersion: "coordination.k8s.io/v1", kind: "Lease", namespace: "cistern", name: "agent")
            // A holder whose clock is years ahead.
            lease["spec"] = [
                "holderIdentity": "gone", "leaseDurationSeconds": 1, "renewTime": "2099-01-01T00:00:00.000000Z",
            ]
            _ = try await client.create(.leases, lease)
            let start = ContinuousClock.now
            let holder = try await Self.election(client, "next").run { leases.holder }
            #expect(holder == "next")
            #expect(ContinuousClock.now - start > .seconds(1))
        }
    }

    @Test("the work is cancelled when somebody else has the lease, and nothing is taken from them")
    func usurped() async throws {
        try await Self.with { client, leases in
            let isCancelled = Atomic(false)
            let error = try await kubernetesError {
                try await Self.election(client, "agent-0").run {
                    leases.usurp("agent-1")
                    do { try await Task.sleep(for: .seconds(60)) } catch {
                        isCancelled.store(true, ordering: .relaxed)
                        throw error
                    }
                }
            }
            #expect(error == .leaseLost("somebody else holds it"))
            #expect(isCancelled.load(ordering: .relaxed) && leases.holder == "agent-1")
        }
    }

    @Test("the work is cancelled before others may take the lease when it can't be renewed")
    func unreachable() async throws {
        try await Self.with { client, leases in
            let error = try await kubernetesError {
                try await Self.election(client, "agent-0").run {
                    leases.set(down: true)
                    try await Task.sleep(for: .seconds(60))
                }
            }
            guard case .leaseLost = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }

    @Test("times that would let two lead at once are refused")
    func times() async throws {
        try await Self.with { client, _ in
            #expect(throws: KubernetesError.self) { try Self.election(client, "a", renewal: .seconds(2)) }
            #expect(throws: KubernetesError.self) { try Self.election(client, "") }
        }
    }
}
