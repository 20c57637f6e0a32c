import Foundation
import JSON

/// The watches that are open (API concepts, "Efficient detection of changes").
struct WatchHub {
    struct Watch {
        let resource: String
        /// Nil for all namespaces.
        let namespace: String?
        let selector: Selector
        let wantsBookmarks: Bool
        let kind: (apiVersion: String, kind: String)
        let form: ObjectForm
        let deadline: Date?
        var nextBookmark: Date?
        let output: AsyncStream<[UInt8]>.Continuation
    }

    private var watches: [Int: Watch] = [:]
    private var last = 0

    var count: Int { watches.count }
    var deadlines: [Date] { watches.values.flatMap { [$0.deadline, $0.nextBookmark].compactMap { $0 } } }

    mutating func add(_ watch: Watch) -> Int {
        last += 1
        watches[last] = watch
        return last
    }

    mutating func remove(_ id: Int) { watches.removeValue(forKey: id)?.output.finish() }

    /// Sends a change to those that watch its kind.
    mutating func send(_ change: Change) {
        for (id, watch) in watches where watch.resource == change.key.resource {
            guard let event = Self.event(for: change, watch) else { continue }
            // A client that does not read loses its watch, and begins anew from its last version.
            if case .dropped = watch.output.yield(event) { remove(id) }
        }
    }

    /// What a watch with a selector sees: an object that no longer matches as deleted, one that does now as added.
    static func event(for change: Change, _ watch: Watch) -> [UInt8]? {
        if let namespace = watch.namespace, namespace != change.key.namespace { return nil }
        let before = change.old.map { watch.selector.matches($0.object) } ?? false
        let after = !change.isDeletion && watch.selector.matches(change.new.object)
        switch (before, after) {
        case (false, false): return nil
        case (false, true): return line("ADDED", watch.form.bytes(of: change.new))
        case (true, true): return line("MODIFIED", watch.form.bytes(of: change.new))
        case (true, false):
            let old = change.isDeletion ? change.new : Stored(change.old?.object ?? [:], revision: change.revision)
            return line("DELETED", watch.form.bytes(of: old))
        }
    }

    static func line(_ type: String, _ object: [UInt8]) -> [UInt8] {
        Array("{\"type\":\"\(type)\",\"object\":".utf8) + object + Array("}\n".utf8)
    }

    static func bookmark(
        _ kind: (apiVersion: String, kind: String), revision: Int, endsInitial: Bool = false
    ) -> [UInt8] {
        var object: JSONValue = [
            "kind": .string(kind.kind), "apiVersion": .string(kind.apiVersion),
            "metadata": ["resourceVersion": .string(String(revision)), "creationTimestamp": .null],
        ]
        if endsInitial { object.set(["k8s.io/initial-events-end": "true"], "metadata", "annotations") }
        return line("BOOKMARK", object.canonicalBytes)
    }

    /// Ends the watches whose `timeoutSeconds` are over and sends the bookmarks that are due.
    mutating func expire(at now: Date, revision: Int) {
        for (id, watch) in watches {
            let isOver = watch.deadline.map { $0 <= now } ?? false
            if watch.wantsBookmarks, isOver || watch.nextBookmark.map({ $0 <= now }) ?? false {
                _ = watch.output.yield(Self.bookmark(watch.kind, revision: revision))
                watches[id]?.nextBookmark = now + StandInCluster.bookmarkInterval
            }
            if isOver { remove(id) }
        }
    }

    /// Sends all watches a bookmark that asked for them.
    func sendBookmarks(revision: Int) {
        for watch in watches.values where watch.wantsBookmarks {
            _ = watch.output.yield(Self.bookmark(watch.kind, revision: revision))
        }
    }

    /// Ends all watches of a kind, or all, after one more event if there is one.
    mutating func breakAll(_ resource: String?, with failure: APIFailure? = nil) {
        for (id, watch) in watches where resource == nil || watch.resource == resource {
            if let failure { _ = watch.output.yield(Self.line("ERROR", failure.status.canonicalBytes)) }
            remove(id)
        }
    }
}

/// How objects are answered (API concepts, "Metadata-only fetches").
enum ObjectForm: Sendable {
    case whole
    case partialMetadata

    init(accept: String) {
        let first = accept.split(separator: ",").first ?? ""
        self = first.contains("as=PartialObjectMetadata") ? .partialMetadata : .whole
    }

    func bytes(of stored: Stored) -> [UInt8] {
        switch self {
        case .whole: stored.bytes
        case .partialMetadata: value(stored.object).canonicalBytes
        }
    }

    func value(_ object: JSONValue) -> JSONValue {
        switch self {
        case .whole: object
        case .partialMetadata:
            [
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"] ?? [:],
            ]
        }
    }
}
