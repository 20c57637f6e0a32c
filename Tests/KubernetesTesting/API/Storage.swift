import JSON

/// What tells an object apart from the others.
struct ObjectKey: Hashable, Sendable, Comparable {
    /// `ResourceType.qualified`: all versions of a group share their objects.
    let resource: String
    /// Empty for objects of the cluster.
    let namespace: String
    let name: String

    init(_ type: ResourceType, _ namespace: String, _ name: String) {
        resource = type.qualified
        self.namespace = type.isNamespaced ? namespace : ""
        self.name = name
    }

    /// The order of lists, which is that of etcd's keys.
    static func < (one: ObjectKey, other: ObjectKey) -> Bool {
        one.path.utf8.lexicographicallyPrecedes(other.path.utf8)
    }

    var path: String { namespace.isEmpty ? name : "\(namespace)/\(name)" }
}

/// One version of an object, with its bytes, so that a list of many thousands is not written anew each time.
struct Stored: Sendable {
    let object: JSONValue
    let bytes: [UInt8]
    let revision: Int

    init(_ object: JSONValue, revision: Int) {
        var object = object
        object.set(.string(String(revision)), "metadata", "resourceVersion")
        self.object = object
        bytes = object.canonicalBytes
        self.revision = revision
    }
}

struct Change: Sendable {
    let revision: Int
    let key: ObjectKey
    /// Nil where the object was made.
    let old: Stored?
    /// For a deletion the last version with the revision of the deletion.
    let new: Stored
    let isDeletion: Bool
}

/// Objects and their history, as etcd keeps them: one counter for all changes, from which each object has its resource
/// version (API concepts, "Resource versions"), and past versions until they are compacted.
struct Storage: Sendable {
    private(set) var revision = 1000
    /// Versions up to this one can't be asked for any more.
    private(set) var compacted = 1000
    private var objects: [String: [ObjectKey: Stored]] = [:]
    private var sorted: [String: [ObjectKey]] = [:]
    private var history: [Change] = []
    /// How many changes are remembered before old ones are compacted by themselves.
    var maximumHistory = 100_000

    func get(_ key: ObjectKey) -> Stored? { objects[key.resource]?[key] }

    /// All objects of a kind as they are now, in no order.
    func all(_ type: ResourceType) -> some Collection<Stored> { (objects[type.qualified] ?? [:]).values }

    var everything: [(key: ObjectKey, value: Stored)] { objects.values.flatMap { $0.map { ($0.key, $0.value) } } }

    mutating func put(_ key: ObjectKey, _ object: JSONValue) -> Change {
        revision += 1
        let new = Stored(object, revision: revision)
        let old = objects[key.resource, default: [:]].updateValue(new, forKey: key)
        if old == nil { sorted[key.resource] = nil }
        return record(Change(revision: revision, key: key, old: old, new: new, isDeletion: false))
    }

    mutating func remove(_ key: ObjectKey) -> Change? {
        guard let old = objects[key.resource]?.removeValue(forKey: key) else { return nil }
        sorted[key.resource] = nil
        revision += 1
        let new = Stored(old.object, revision: revision)
        return record(Change(revision: revision, key: key, old: old, new: new, isDeletion: true))
    }

    private mutating func record(_ change: Change) -> Change {
        history.append(change)
        if history.count > maximumHistory { compact(upTo: history[history.count / 2].revision) }
        return change
    }

    /// Forgets past versions, as etcd's compaction does every five minutes.
    mutating func compact(upTo limit: Int) {
        compacted = max(compacted, min(limit, revision))
        history.removeAll { $0.revision <= compacted }
    }

    /// The objects of a kind as they were at a revision, in the order of lists.
    /// - Returns: nil if that was compacted.
    mutating func list(_ type: ResourceType, at past: Int) -> [(key: ObjectKey, stored: Stored)]? {
        let resource = type.qualified
        guard past >= compacted, past <= revision else { return nil }
        let keys = sorted[resource] ?? (objects[resource] ?? [:]).keys.sorted()
        sorted[resource] = keys
        guard past < revision else { return keys.compactMap { key in get(key).map { (key, $0) } } }
        var then: [ObjectKey: Stored] = objects[resource] ?? [:]
        for change in history.reversed() {
            if change.revision <= past { break }
            if change.key.resource == resource { then[change.key] = change.old }
        }
        return then.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// The changes of a kind after a revision.
    /// - Returns: nil if some of them were compacted.
    func changes(of type: ResourceType, after past: Int) -> [Change]? {
        guard past >= compacted else { return nil }
        return history.filter { $0.revision > past && $0.key.resource == type.qualified }
    }
}
