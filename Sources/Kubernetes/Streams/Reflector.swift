import Logging
import Runtime
import Synchronization

/// What a reflector tells its consumer, in order.
package enum ReflectorEvent<Value: Sendable>: Sendable {
    case added(ObjectKey, Value)
    case modified(ObjectKey, Value, before: Value)
    case deleted(ObjectKey, last: Value)
    /// The store has everything that there was when the list was begun. Told after each list.
    case synced
}

/// A copy of a collection that follows it: a list, and then a watch.
///
/// What is kept of each object is the projection that a closure makes of it, so that thousands of objects take little
/// room; no more than a page of a list is in memory besides. An object that was deleted and made anew while nobody
/// looked shows as modified.
package final class Reflector<Value: Sendable>: Sendable {
    package struct Health: Sendable {
        /// Whether the store has been complete once.
        package var isSynced = false
        /// When the server was last heard of, in nanoseconds of the monotonic clock; nil: never.
        package var lastContact: Int64?
        /// Why the copy falls behind; nil while it follows.
        package var failure: String?
    }

    private struct Entry {
        var value: Value
        /// Of the object, to see on a new list that nothing has changed.
        var version: String
        /// The list in which the object was last seen.
        var list: UInt64
    }

    private struct State {
        var entries: [ObjectKey: Entry] = [:]
        var health = Health()
    }

    private let client: KubernetesClient
    private let resource: Resource
    private let namespace: String?
    private let options: ListOptions
    private let project: @Sendable (KubernetesObject) -> Value?
    private let state = Mutex(State())

    /// - Parameters:
    ///   - namespace: nil for all.
    ///   - project: what is kept of an object; nil for nothing. It must not keep the object itself where memory counts.
    package init(
        _ client: KubernetesClient, _ resource: Resource, namespace: String? = nil,
        _ options: ListOptions = ListOptions(), project: @escaping @Sendable (KubernetesObject) -> Value?
    ) {
        (self.client, self.resource, self.namespace, self.options) = (client, resource, namespace, options)
        self.project = project
    }

    package var health: Health { state.withLock { $0.health } }
    package var count: Int { state.withLock { $0.entries.count } }
    package subscript(_ key: ObjectKey) -> Value? { state.withLock { $0.entries[key]?.value } }
    package var values: [ObjectKey: Value] { state.withLock { $0.entries.mapValues(\.value) } }

    /// Follows the collection until the task is cancelled. Failures are logged, shown by `health`, and tried again after
    /// pauses of up to `Limits.longestPause`; meanwhile the store keeps what it has.
    /// - Parameter handle: called for one event after the other; the next one waits until it returns.
    /// - Throws: `CancellationError`; what `handle` throws.
    package func run(_ handle: (ReflectorEvent<Value>) async throws -> Void = { _ in }) async throws {
        var version: String?
        var list: UInt64 = 0
        var failures = 0
        while true {
            do {
                let current: String
                if let version {
                    current = version
                } else {
                    list += 1
                    current = try await self.list(list, handle)
                    version = current
                    failures = 0
                    try await Self.deliver(.synced, to: handle)
                }
                for try await event in client.watch(resource, namespace: namespace, options, since: current) {
                    failures = 0
                    version = try await take(event, list, handle)
                }
            } catch let error as ConsumerError {
                throw error.cause
            } catch {
                try Task.checkCancellation()
                // An expired version or page means that events are missing: everything is read again.
                let isExpired = (error as? KubernetesError)?.isExpired ?? false
                if isExpired { version = nil }
                failures += 1
                state.withLock { $0.health.failure = "\(error)" }
                client.logger.log(
                    level: isExpired ? .info : .warning, "A collection is not followed for now",
                    metadata: ["resource": "\(resource)", "error": "\(error)"])
                try await client.timing.pause(client.pause(after: failures))
            }
        }
    }

    /// What the consumer throws ends the reflector; it is told apart by this from failures of the server.
    private struct ConsumerError: Error {
        let cause: any Error
    }

    private static func deliver(
        _ event: ReflectorEvent<Value>, to handle: (ReflectorEvent<Value>) async throws -> Void
    ) async throws {
        do { try await handle(event) } catch { throw ConsumerError(cause: error) }
    }

    private func list(
        _ number: UInt64, _ handle: (ReflectorEvent<Value>) async throws -> Void
    ) async throws -> String {
        var version = ""
        for try await page in client.pages(of: resource, namespace: namespace, options) {
            var events: [ReflectorEvent<Value>] = []
            try page.forEach { object in
                if let event = put(object, number) { events.append(event) }
            }
            version = page.resourceVersion
            contact(isSynced: false)
            for event in events { try await Self.deliver(event, to: handle) }
        }
        guard !version.isEmpty else { throw KubernetesError.malformed("a list of \(resource) has no resource version") }
        let gone = state.withLock { state in
            let gone = state.entries.filter { $0.value.list != number }
            for key in gone.keys { state.entries[key] = nil }
            return gone.map { ($0.key, $0.value.value) }
        }
        contact(isSynced: true)
        for (key, value) in gone { try await Self.deliver(.deleted(key, last: value), to: handle) }
        return version
    }

    /// - Returns: the version up to which everything has been seen.
    private func take(
        _ event: WatchEvent, _ list: UInt64, _ handle: (ReflectorEvent<Value>) async throws -> Void
    ) async throws -> String {
        contact(isSynced: true)
        switch event {
        case .bookmark(let version): return version
        case .added(let object), .modified(let object):
            if let event = put(object, list) { try await Self.deliver(event, to: handle) }
            return object.resourceVersion
        case .deleted(let object):
            if let last = state.withLock({ $0.entries.removeValue(forKey: object.key) }) {
                try await Self.deliver(.deleted(object.key, last: last.value), to: handle)
            }
            return object.resourceVersion
        }
    }

    /// - Returns: what has changed; nil for nothing.
    private func put(_ object: KubernetesObject, _ list: UInt64) -> ReflectorEvent<Value>? {
        let (key, version) = (object.key, object.resourceVersion)
        let isKnown = state.withLock { state in
            guard state.entries[key]?.version == version else { return false }
            state.entries[key]?.list = list
            return true
        }
        if isKnown { return nil }
        let value = project(object)
        return state.withLock { state in
            let before = state.entries[key]
            guard let value else {
                state.entries[key] = nil
                return before.map { ReflectorEvent.deleted(key, last: $0.value) }
            }
            state.entries[key] = Entry(value: value, version: version, list: list)
            guard let before else { return .added(key, value) }
            return .modified(key, value, before: before.value)
        }
    }

    private func contact(isSynced: Bool) {
        let now = client.timing.monotonic()
        state.withLock { state in
            state.health.lastContact = now
            if isSynced {
                state.health.isSynced = true
                state.health.failure = nil
            }
        }
    }
}
