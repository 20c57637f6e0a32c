import TestSupport

/// What goes wrong on demand. Random failures come from a seed: the same requests fail in each run in which they come in
/// the same order.
public struct FaultRule: Sendable {
    public enum Effect: Sendable {
        /// An error instead of the answer, without the request being carried out.
        case answer(code: Int, retryAfter: Int? = nil)
        /// The connection breaks off before the request is carried out.
        case loseRequest
        /// The request is carried out, and the connection breaks off.
        case loseAnswer
        /// The request is carried out once this returns.
        case wait(@Sendable () async -> Void)
    }

    /// Such as `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`; empty for all.
    public var verbs: Set<String>
    /// Such as `pods`, `pods/log`; empty for all.
    public var resources: Set<String>
    /// How many more requests it meets.
    public var count: Int
    public var effect: Effect

    public init(verbs: Set<String> = [], resources: Set<String> = [], count: Int = 1, _ effect: Effect) {
        self.verbs = verbs
        self.resources = resources
        self.count = count
        self.effect = effect
    }
}

struct Faults {
    var rules: [FaultRule] = []
    var share = 0.0
    var effects: [FaultRule.Effect] = []
    var random = SeededRandom(seed: 1)
    var hit = 0

    mutating func next(_ verb: String, _ resource: String) -> FaultRule.Effect? {
        for index in rules.indices where rules[index].count > 0 {
            let rule = rules[index]
            guard rule.verbs.isEmpty || rule.verbs.contains(verb),
                rule.resources.isEmpty || rule.resources.contains(resource)
            else { continue }
            rules[index].count -= 1
            if rules[index].count == 0 { rules.remove(at: index) }
            hit += 1
            return rule.effect
        }
        guard share > 0, Double.random(in: 0..<1, using: &random) < share, !effects.isEmpty else { return nil }
        hit += 1
        return effects[Int.random(in: 0..<effects.count, using: &random)]
    }
}

extension StandInCluster {
    public func inject(_ rule: FaultRule) { faults.rules.append(rule) }

    /// Makes a share of all requests fail.
    /// - Parameters:
    ///   - share: 0 to 1; 0 ends it.
    ///   - effects: which ways of failing there are.
    public func failRandomly(
        share: Double, seed: UInt64,
        effects: [FaultRule.Effect] = [
            .answer(code: 500), .answer(code: 503), .answer(code: 429, retryAfter: 1), .loseRequest, .loseAnswer,
        ]
    ) {
        faults.share = share
        faults.effects = effects
        faults.random = SeededRandom(seed: seed)
    }

    /// How many requests failed because a test wanted it.
    public var injectedFailures: Int { faults.hit }

    /// Forgets all past versions: continue tokens and watches from before answer 410.
    public func compact() { storage.compact(upTo: storage.revision) }

    /// Ends the open watches of a kind, or all of them, as a restart of the API server does.
    public func breakWatches(of type: ResourceType? = nil) { watches.breakAll(type?.qualified) }

    /// Ends the open watches with the event that says that their version was compacted.
    public func expireWatches(of type: ResourceType? = nil) {
        watches.breakAll(type?.qualified, with: .expired("The resourceVersion for the provided watch is too old."))
    }

    public func sendBookmarks() { watches.sendBookmarks(revision: storage.revision) }
    public var openWatches: Int { watches.count }
}
