package import JSON
package import ObjectStore
import Records
public import Runtime

/// Which version of a stack is current, and which versions were current before.
public struct PromotionHistory: Hashable, Sendable {
    public struct Promotion: Hashable, Sendable {
        public enum Kind: String, Hashable, Sendable {
            case promote, rollback
        }

        public let kind: Kind
        public let version: VersionName
        public let at: Timestamp
        public let by: String
        public let reason: String
        /// Members of its record that this binary does not know.
        private let others: JSONObject

        public init(kind: Kind = .promote, version: VersionName, at: Timestamp, by: String, reason: String) {
            self.kind = kind
            self.version = version
            self.at = at
            self.by = by
            self.reason = reason
            others = [:]
        }
    }

    /// How many promotions are kept.
    private static let maximumLength = 1000

    /// Newest first; never empty.
    public let promotions: [Promotion]
    /// How many promotions there ever were, which tells the older of two histories.
    public let generation: Int64

    /// The promoted version.
    public var current: VersionName { promotions[0].version }

    /// The versions that a rollback can lead to, nearest first: those that were current before the current one.
    ///
    /// A rollback undoes the promotions after the version that it leads to. So the next rollback leads further back,
    /// and never forward to the version that was just left.
    public var earlier: [VersionName] {
        var path: [VersionName] = []
        for promotion in promotions.reversed() {
            if promotion.kind == .rollback, let place = path.lastIndex(of: promotion.version) {
                path.removeSubrange((place + 1)...)
            } else {
                path.append(promotion.version)
            }
        }
        return path.reversed().filter { $0 != current }
    }

    init(first: Promotion) {
        self.init(promotions: [first], generation: 1)
    }

    func adding(_ promotion: Promotion) -> PromotionHistory {
        PromotionHistory(
            promotions: Array(([promotion] + promotions).prefix(Self.maximumLength)), generation: generation + 1)
    }

    fileprivate init(promotions: [Promotion], generation: Int64) {
        self.promotions = promotions
        self.generation = generation
    }
}

extension PromotionHistory.Promotion {
    fileprivate init?(json: JSONValue) {
        guard var others = json.object, let version = json["version"]?.string.flatMap({ try? VersionName($0) }),
            let at = json["at"]?.integer, let by = json["by"]?.string, let reason = json["reason"]?.string,
            // Earlier versions of Cistern wrote no kind, since they knew only promotions.
            let kind = Kind(rawValue: json["kind"]?.string ?? Kind.promote.rawValue)
        else { return nil }
        for name in ["version", "at", "by", "reason", "kind"] { others[name] = nil }
        self.kind = kind
        self.version = version
        self.at = Timestamp(seconds: at)
        self.by = by
        self.reason = reason
        self.others = others
    }

    fileprivate var json: JSONValue {
        var json: JSONObject = [
            "at": .integer(at.seconds), "by": .string(by), "reason": .string(reason), "version": .string(version.text),
        ]
        if kind != .promote { json["kind"] = .string(kind.rawValue) }
        return .object(json.merging(others) { own, _ in own })
    }
}

/// What an operator decided about a version. A version without a state is available.
///
/// A state applies to future changes only: what runs on a version is still served, whatever its state.
public struct VersionState: Hashable, Sendable {
    public enum Availability: String, Hashable, Sendable, CaseIterable {
        case available
        /// It can be promoted, with a warning.
        case deprecated
        /// It can't be promoted or rolled back to, and no delta to it is computed.
        case blocked
    }

    public let availability: Availability
    public let at: Timestamp
    public let by: String
    public let reason: String
    /// Members of its record that this binary does not know.
    private let others: JSONObject

    init(availability: Availability, at: Timestamp, by: String, reason: String) {
        self.availability = availability
        self.at = at
        self.by = by
        self.reason = reason
        others = [:]
    }

    /// The state that counts if the real one can't be read.
    static func unknown(since at: Timestamp) -> VersionState {
        VersionState(
            availability: .blocked, at: at, by: "", reason: "what was said of it can't be read: say it again")
    }
}

/// As an object of its own, `rootfs/<stack>/<version>/state`, it comes from a version of Cistern before `StackRecord`.
extension VersionState: JSONRecord {
    /// A name that differs from every architecture's.
    static let name = "state"

    static func key(_ stack: StackName, _ version: VersionName) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(RootfsVersion.folder(stack, version) + name)
    }

    package init?(_ json: JSONValue, at key: ObjectKey) { self.init(json: json) }

    fileprivate init?(json: JSONValue) {
        guard var others = json.object,
            let availability = json["state"]?.string.flatMap(Availability.init(rawValue:)),
            let at = json["at"]?.integer, let by = json["by"]?.string, let reason = json["reason"]?.string
        else { return nil }
        for name in ["state", "at", "by", "reason"] { others[name] = nil }
        self.availability = availability
        self.at = Timestamp(seconds: at)
        self.by = by
        self.reason = reason
        self.others = others
    }

    package var json: JSONValue {
        let json: JSONObject = [
            "at": .integer(at.seconds), "by": .string(by), "reason": .string(reason),
            "state": .string(availability.rawValue),
        ]
        return .object(json.merging(others) { own, _ in own })
    }
}

/// The promotions and version states of a stack: `rootfs/<stack>/current`. It is one object, so that one swap decides
/// between a promotion and a block of the same version.
struct StackRecord: Hashable, Sendable {
    /// nil: nothing was promoted yet.
    var history: PromotionHistory?
    /// The states of versions that have one.
    var states: [VersionName: VersionState] = [:]
    /// Whether the record has format 1, which had only the history: each state was an object of its own.
    fileprivate(set) var isOldForm = false

    static func key(_ stack: StackName) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(RootfsVersion.folder(stack) + "current")
    }

    /// The same record in the newest format.
    var renewed: StackRecord { StackRecord(history: history, states: states) }

    func isBlocked(_ version: VersionName) -> Bool { states[version]?.availability == .blocked }
}

extension StackRecord: JSONRecord {
    static var newestFormat: Int64 { 2 }
    static var formerMembers: Set<String> { ["history"] }

    init?(_ json: JSONValue, at key: ObjectKey) {
        // Format 2 has another name for the history than format 1, whose readers look at no format number: they
        // find no history, refuse the record, and can't write it over without the states. The first stores of
        // format 2 have the old name.
        guard
            let promotions = (json["promotions"] ?? json["history"])?.elements(PromotionHistory.Promotion.init(json:)),
            let generation = json["generation"]?.integer, (0..<Int64.max).contains(generation),
            promotions.isEmpty == (generation == 0)
        else { return nil }
        history = promotions.isEmpty ? nil : PromotionHistory(promotions: promotions, generation: generation)
        isOldForm = json["format"]?.integer ?? 1 < Self.newestFormat
        // A record of format 1 always has a history.
        guard let members = isOldForm ? [:] : json["states"]?.object, !isOldForm || history != nil else { return nil }
        for (name, json) in members {
            guard let version = try? VersionName(name), let state = VersionState(json: json) else { return nil }
            states[version] = state
        }
    }

    var json: JSONValue {
        var json: JSONObject = [
            "format": .integer(Self.newestFormat), "generation": .integer(history?.generation ?? 0),
            "promotions": .array((history?.promotions ?? []).map(\.json)),
            "states": .object(JSONObject(states.map { ($0.key.text, $0.value.json) }) { first, _ in first }),
        ]
        if let history { json["version"] = .string(history.current.text) }
        return .object(json)
    }
}
