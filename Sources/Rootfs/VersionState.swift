package import JSON
package import ObjectStore
import Records
public import Runtime

/// What an operator says of a version: `rootfs/<stack>/<version>/state`. A version without one is available.
///
/// It is about what comes next. Whatever runs on a version goes on being served, whatever its state.
public struct VersionState: Hashable, Sendable {
    public enum Availability: String, Hashable, Sendable, CaseIterable {
        case available
        /// It can be promoted, and whoever does is warned.
        case deprecated
        /// It can't be promoted nor gone back to, and no delta leads to it.
        case blocked
    }

    public let availability: Availability
    public let at: Timestamp
    public let by: String
    public let reason: String

    /// What no architecture is called.
    static let name = "state"

    static func key(_ stack: StackName, _ version: VersionName) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(RootfsVersion.folder(stack, version) + name)
    }

    init(availability: Availability, at: Timestamp, by: String, reason: String) {
        self.availability = availability
        self.at = at
        self.by = by
        self.reason = reason
    }
}

extension VersionState: JSONRecord {
    package init?(_ json: JSONValue, at key: ObjectKey) {
        guard let availability = json["state"]?.string.flatMap(Availability.init(rawValue:)),
            let at = json["at"]?.integer, let by = json["by"]?.string, let reason = json["reason"]?.string
        else { return nil }
        self.init(availability: availability, at: Timestamp(seconds: at), by: by, reason: reason)
    }

    package var json: JSONValue {
        [
            "at": .integer(at.seconds), "by": .string(by), "reason": .string(reason),
            "state": .string(availability.rawValue),
        ]
    }
}
