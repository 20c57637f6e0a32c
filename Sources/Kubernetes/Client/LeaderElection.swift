import JSON
import Logging
import Runtime

/// Lets one process at a time do a work, by a Lease that it holds (Kubernetes documentation, "Leases"; coordination.k8s.io/v1).
///
/// Nobody's clock is compared with anybody else's: a lease is free when its holder has not renewed it for its duration
/// while this process looked on. The holder gives up well before that, so that, as long as clocks run about equally fast,
/// the work of two never overlaps. That needs a work that ends when it is cancelled; `run` waits for it.
package struct LeaderElection: Sendable {
    package struct Times: Sendable {
        /// After how long without a renewal others take the lease, in whole seconds at least.
        package var lease = Duration.seconds(15)
        /// How long the holder goes on without having renewed it. Shorter than `lease`.
        package var renewal = Duration.seconds(10)
        /// The pause between renewals, and between attempts to get the lease.
        package var pause = Duration.seconds(2)

        package init() {}
    }

    private let client: KubernetesClient
    private let namespace: String
    private let name: String
    private let identity: String
    private let times: Times

    /// - Parameter identity: this process's and no other's, as the pod's name and uid.
    /// - Throws: `KubernetesError.configuration` for times that can't keep two holders apart.
    package init(
        _ client: KubernetesClient, namespace: String, name: String, identity: String, times: Times = Times()
    ) throws(KubernetesError) {
        guard !identity.isEmpty, times.lease >= .seconds(1), times.pause > .zero, times.pause < times.renewal,
            times.renewal < times.lease
        else { throw .configuration("a lease needs a holder, and pause < renewal < lease, which is 1 s at least") }
        (self.client, self.namespace, self.name, self.identity) = (client, namespace, name, identity)
        self.times = times
    }

    /// Waits for the lease, runs the work while it is held, and gives it back.
    /// - Parameter work: cancelled when the lease is lost.
    /// - Returns: what the work returns.
    /// - Throws: `KubernetesError.leaseLost`, `CancellationError`; what the work throws.
    package func run<Value: Sendable>(_ work: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let held = try await acquire()
        client.logger.info("The lease is held", metadata: ["lease": "\(namespace)/\(name)", "holder": "\(identity)"])
        let result: Result<Value, any Error>
        do {
            result = .success(
                try await withThrowingTaskGroup(of: Value?.self) { group in
                    group.addTask { try await work() }
                    group.addTask {
                        try await renew(since: held)
                        return nil
                    }
                    defer { group.cancelAll() }
                    while let value = try await group.next() { if let value { return value } }
                    throw CancellationError()
                })
        } catch {
            result = .failure(error)
        }
        // The work has ended by now. A cancelled task can't send requests, so that another one gives the lease back.
        _ = await Task { try? await withTimeLimit(times.pause) { try await release() } }.value
        return try result.get()
    }

    /// - Returns: when the lease was last known to be ours, on the monotonic clock.
    private func acquire() async throws -> Int64 {
        var seen: (version: String, at: Int64)?
        while true {
            do {
                let start = client.timing.monotonic()
                let lease = try await read()
                if let lease {
                    let holder = lease.value(at: "spec", "holderIdentity")?.string ?? ""
                    if seen?.version != lease.resourceVersion { seen = (lease.resourceVersion, start) }
                    let seconds = lease.value(at: "spec", "leaseDurationSeconds")?.integer ?? 0
                    let duration = Duration.seconds(min(max(seconds, 0), 86_400)).nanoseconds
                    let isFree = holder.isEmpty || holder == identity || start - (seen?.at ?? start) > duration
                    if isFree, try await take(lease) { return start }
                } else if try await create() {
                    return start
                }
            } catch let error as KubernetesError {
                client.logger.warning(
                    "The lease can't be asked for", metadata: ["lease": "\(namespace)/\(name)", "error": "\(error)"])
            }
            try await client.timing.pause(times.pause * Double.random(in: 1...1.25))
        }
    }

    private func renew(since held: Int64) async throws {
        var held = held
        while true {
            try await client.timing.pause(times.pause)
            let start = client.timing.monotonic()
            let left = held + times.renewal.nanoseconds - start
            guard left > 0 else { throw KubernetesError.leaseLost("it could not be renewed in time") }
            do {
                let isOurs = try await withTimeLimit(.nanoseconds(left)) {
                    guard let lease = try await read(), lease.value(at: "spec", "holderIdentity")?.string == identity
                    else { throw KubernetesError.leaseLost("somebody else holds it") }
                    return try await take(lease)
                }
                if isOurs { held = start }
            } catch let error as KubernetesError {
                if case .leaseLost = error { throw error }
                client.logger.warning(
                    "The lease can't be renewed", metadata: ["lease": "\(namespace)/\(name)", "error": "\(error)"])
            } catch is TimeLimitExceeded {
                throw KubernetesError.leaseLost("the API server does not answer in time")
            }
        }
    }

    private func read() async throws -> KubernetesObject? {
        do { return try await client.get(.leases, namespace: namespace, name: name) } catch let error as KubernetesError
        {
            guard error.isNotFound else { throw error }
            return nil
        }
    }

    /// Makes the lease ours. An answer that is lost counts as no: the next look at the lease tells.
    private func take(_ lease: KubernetesObject) async throws -> Bool {
        var lease = lease
        var spec = lease["spec"]?.object ?? [:]
        let now = JSONValue.string(APITime(nanoseconds: client.timing.now()).microText)
        if spec["holderIdentity"]?.string != identity {
            spec["acquireTime"] = now
            let transitions = spec["leaseTransitions"]?.integer ?? 0
            spec["leaseTransitions"] = .integer(min(max(transitions, 0), 1 << 30) + 1)
        }
        spec["holderIdentity"] = .string(identity)
        spec["leaseDurationSeconds"] = .integer(seconds)
        spec["renewTime"] = now
        lease["spec"] = .object(spec)
        do {
            _ = try await client.replace(.leases, lease)
            return true
        } catch let error as KubernetesError {
            if error.isConflict || error.isNotFound { return false }
            throw error
        }
    }

    private func create() async throws -> Bool {
        let now = JSONValue.string(APITime(nanoseconds: client.timing.now()).microText)
        var lease = KubernetesObject(
            apiVersion: Resource.leases.apiVersion, kind: Resource.leases.kind, namespace: namespace, name: name)
        lease["spec"] = [
            "holderIdentity": .string(identity), "leaseDurationSeconds": .integer(seconds), "acquireTime": now,
            "renewTime": now, "leaseTransitions": 0,
        ]
        do {
            _ = try await client.create(.leases, lease)
            return true
        } catch let error as KubernetesError {
            if error.isAlreadyExists { return false }
            throw error
        }
    }

    /// Leaves the lease to whoever comes next, if it is still ours.
    private func release() async throws {
        _ = try await client.update(.leases, namespace: namespace, name: name) { read in
            guard var spec = read["spec"]?.object, spec["holderIdentity"]?.string == identity else { return nil }
            spec["holderIdentity"] = ""
            spec["leaseDurationSeconds"] = 1
            var lease = read
            lease["spec"] = .object(spec)
            return lease
        }
    }

    private var seconds: Int64 { max(1, times.lease.components.seconds) }
}
