public import Foundation
public import JSON
import TestSupport

/// A stand-in for a Kubernetes cluster: API server, controllers, scheduler and kubelets in this process, on a clock that
/// stands still until a test advances it.
///
/// It is written after the documentation of Kubernetes 1.36, which each part names. Requests are answered in the order in
/// which they come; after each the controllers run until nothing is left to do, in an order that is the same in each
/// run.
public actor StandInCluster {
    public internal(set) var clock: VirtualClock
    var storage = Storage()
    let types: [ResourceType]
    var watches = WatchHub()
    var faults = Faults()
    var access: AccessControl
    let webhooks = WebhookCaller()
    var webhookCalls: [WebhookCall] = []
    /// Where Services are, by `namespace/name`.
    var services: [String: String] = [:]
    var nodes = NodeState()

    /// Objects that controllers are to look at, and when they are to look again.
    var queue: Set<ObjectKey> = []
    var delayed: [ObjectKey: Date] = [:]
    /// The keys of objects by the uid of an owner.
    var dependents: [String: Set<ObjectKey>] = [:]
    private var settling: Task<Void, Never>?
    private var made = 0
    /// How often controllers did not come to rest: 0 unless the stand-in has a mistake.
    public private(set) var unsettled = 0
    var random: SeededRandom
    /// Whether controllers and kubelets run at all; without them it is an API server alone.
    let runsControllers: Bool
    /// Whether a watch from a compacted version is answered with the status 410, and not with an event of 200's stream:
    /// servers do either.
    public var answersExpiredWatchesByStatus = false
    /// Events of the bookmark kind go out this often.
    static let bookmarkInterval: Double = 60

    /// - Parameters:
    ///   - types: the kinds of objects besides `ResourceType.standard`, for example of custom resources.
    ///   - nodes: the names of the nodes that there are from the start.
    ///   - controllers: whether controllers, scheduler and kubelets run.
    ///   - seed: of names, uids and failures.
    ///   - start: where the clock stands at first. Certificates and tokens that others check need a true time.
    public init(
        types: [ResourceType] = [], nodes: [String] = ["node-1"], controllers: Bool = true, seed: UInt64 = 1,
        start: Date = Date()
    ) {
        self.types = ResourceType.standard + types
        clock = VirtualClock(start: start)
        random = SeededRandom(seed: seed)
        runsControllers = controllers
        access = AccessControl()
        pendingNodes = nodes
    }

    private var pendingNodes: [String]

    /// Makes what a new cluster has: namespaces with their service account, and nodes.
    func prepare() {
        let nodes = pendingNodes
        pendingNodes = []
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"]
        where find(.namespaces, "", name) == nil {
            makeNamespace(name)
        }
        for name in nodes { addNode(name) }
    }

    // MARK: the clock

    /// Advances the clock and lets the controllers do what falls due on the way.
    public func advance(by seconds: Double) async {
        let end = clock.now + seconds
        await settle()
        while clock.now < end {
            for time in delayed.values { clock.wake(at: time) }
            for time in watches.deadlines { clock.wake(at: time) }
            clock.step(towards: end)
            let due = delayed.filter { $0.value <= clock.now }.keys
            for key in due {
                delayed[key] = nil
                queue.insert(key)
            }
            watches.expire(at: clock.now, revision: storage.revision)
            await settle()
        }
    }

    /// Waits until the controllers have nothing to do before the clock is advanced.
    public func settle() async {
        kick()
        while let settling {
            await settling.value
            if self.settling == settling { self.settling = nil }
            if !queue.isEmpty { kick() }
        }
    }

    /// Lets the controllers run in the background, if they have anything to do.
    func kick() {
        guard settling == nil, !queue.isEmpty else { return }
        settling = Task { await self.work() }
    }

    private func work() async {
        // A controller that never comes to rest is a mistake: it must not hold up a test for ever.
        var rounds = 0
        while !queue.isEmpty {
            rounds += 1
            guard rounds < 1000 else {
                unsettled += 1
                queue = []
                break
            }
            let keys = queue.sorted { ($0.resource, $0.path) < ($1.resource, $1.path) }
            queue = []
            for key in keys { await reconcile(key) }
        }
        settling = nil
    }

    func requeue(_ key: ObjectKey, after seconds: Double) {
        let time = clock.now + max(0, seconds)
        delayed[key] = min(delayed[key] ?? time, time)
    }

    // MARK: reading and writing, for controllers and tests

    func find(_ type: ResourceType, _ namespace: String, _ name: String) -> JSONValue? {
        storage.get(ObjectKey(type, namespace, name))?.object
    }

    /// An object as it is now; nil if there is none.
    public func object(_ type: ResourceType, namespace: String = "", name: String) -> JSONValue? {
        find(type, namespace, name)
    }

    /// All objects of a kind as they are now, in the order of lists.
    public func objects(_ type: ResourceType, namespace: String? = nil) -> [JSONValue] {
        (storage.list(type, at: storage.revision) ?? []).map(\.stored.object)
            .filter { namespace == nil || $0.namespace == namespace }
    }

    public func answerExpiredWatchesByStatus(_ byStatus: Bool) { answersExpiredWatchesByStatus = byStatus }

    public var resourceVersion: Int { storage.revision }

    /// Changes an object as a controller does: its status, labels or finalizers. Nothing is written if nothing changed.
    @discardableResult
    func modify(_ key: ObjectKey, _ change: (inout JSONValue) -> Void) -> JSONValue? {
        guard let stored = storage.get(key) else { return nil }
        var object = stored.object
        change(&object)
        guard object != stored.object else { return object }
        return store(key, object)
    }

    /// Changes an object behind the API's back, for a test.
    public func modify(
        _ type: ResourceType, namespace: String = "", name: String, _ change: @Sendable (inout JSONValue) -> Void
    ) {
        modify(ObjectKey(type, namespace, name), change)
        kick()
    }

    /// Puts objects there without a request for each, for tests with many thousands of them. No controller looks at them
    /// until they change.
    public func seed(_ type: ResourceType, _ objects: [JSONValue]) {
        let waiting = queue
        for object in objects {
            var object = object
            object.setDefault(.string(type.kind), "kind")
            object.setDefault(.string(type.groupVersion), "apiVersion")
            object.set(.string(newUID()), "metadata", "uid")
            object.set(.string(clock.timestamp), "metadata", "creationTimestamp")
            if type.hasGeneration { object.set(1, "metadata", "generation") }
            Validation.setDefaults(&object, type)
            store(ObjectKey(type, object.namespace, object.name), object)
        }
        queue = waiting
    }

    @discardableResult
    func store(_ key: ObjectKey, _ object: JSONValue) -> JSONValue {
        let change = storage.put(key, object)
        noteOwners(change)
        watches.send(change)
        notice(change)
        return change.new.object
    }

    func erase(_ key: ObjectKey) {
        guard let change = storage.remove(key) else { return }
        noteOwners(change)
        delayed[key] = nil
        watches.send(change)
        notice(change)
    }

    private func noteOwners(_ change: Change) {
        let before = Set((change.old?.object.ownerReferences ?? []).compactMap { $0["uid"]?.string })
        let after = change.isDeletion ? [] : Set(change.new.object.ownerReferences.compactMap { $0["uid"]?.string })
        for uid in before.subtracting(after) {
            dependents[uid]?.remove(change.key)
            if dependents[uid]?.isEmpty ?? false { dependents[uid] = nil }
        }
        for uid in after.subtracting(before) { dependents[uid, default: []].insert(change.key) }
    }

    // MARK: names

    /// Five characters as the API server appends them ("Object Names and IDs", "generateName"): no vowels.
    func suffix(_ length: Int = 5) -> String {
        let letters = Array("bcdfghjklmnpqrstvwxz2456789")
        return String((0..<length).map { _ in letters[Int.random(in: 0..<letters.count, using: &random)] })
    }

    func newUID() -> String {
        func hex(_ count: Int) -> String {
            (0..<count).map { _ in String(Int.random(in: 0..<16, using: &random), radix: 16) }.joined()
        }
        return "\(hex(8))-\(hex(4))-4\(hex(3))-a\(hex(3))-\(hex(12))"
    }

    func count() -> Int {
        made += 1
        return made
    }
}

extension StandInCluster {
    /// Advances the clock to the wall's time, for programs.
    public func catchUp() async {
        let behind = Date().timeIntervalSince(clock.now)
        if behind > 0 { await advance(by: behind) }
    }
}
