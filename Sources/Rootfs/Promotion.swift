package import JSON
package import ObjectStore
import Records
public import Runtime

/// Which version of a stack is current, and which were before: `rootfs/<stack>/current`.
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

        public init(kind: Kind = .promote, version: VersionName, at: Timestamp, by: String, reason: String) {
            self.kind = kind
            self.version = version
            self.at = at
            self.by = by
            self.reason = reason
        }
    }

    /// How many promotions are remembered.
    static let maximumLength = 1000

    /// Newest first; never empty.
    public let promotions: [Promotion]
    /// How many promotions there ever were: tells the older of two histories.
    public let generation: Int64

    /// The promoted version.
    public var current: VersionName { promotions[0].version }

    /// Where a rollback leads, nearest first: what was current before the current version came.
    ///
    /// A rollback takes back the promotions above the version that it leads to, so that the next one leads further back
    /// and never forth to what was just left.
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

    private init(promotions: [Promotion], generation: Int64) {
        self.promotions = promotions
        self.generation = generation
    }

    static func key(_ stack: StackName) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(RootfsVersion.folder(stack) + "current")
    }
}

extension PromotionHistory: JSONRecord {
    package init?(_ json: JSONValue, at key: ObjectKey) {
        let read = json["history"]?.elements { json -> Promotion? in
            guard let version = json["version"]?.string.flatMap({ try? VersionName($0) }),
                let at = json["at"]?.integer, let by = json["by"]?.string, let reason = json["reason"]?.string
            else { return nil }
            // Earlier Cisterns wrote no kind: they had one.
            guard let kind = Promotion.Kind(rawValue: json["kind"]?.string ?? Promotion.Kind.promote.rawValue) else {
                return nil
            }
            return Promotion(kind: kind, version: version, at: Timestamp(seconds: at), by: by, reason: reason)
        }
        guard let promotions = read, !promotions.isEmpty, let generation = json["generation"]?.integer,
            (1..<Int64.max).contains(generation)
        else { return nil }
        self.init(promotions: promotions, generation: generation)
    }

    package var json: JSONValue {
        let history = promotions.map { promotion -> JSONValue in
            var json: [String: JSONValue] = [
                "at": .integer(promotion.at.seconds), "by": .string(promotion.by), "reason": .string(promotion.reason),
                "version": .string(promotion.version.text),
            ]
            if promotion.kind != .promote { json["kind"] = .string(promotion.kind.rawValue) }
            return .object(json)
        }
        return [
            "generation": .integer(generation), "history": .array(history), "version": .string(current.text),
        ]
    }
}
