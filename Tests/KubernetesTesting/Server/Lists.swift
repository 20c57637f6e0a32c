import Foundation
import JSON

/// Lists in pieces and watches (API concepts, "Retrieving large results sets in chunks" and "Efficient detection of
/// changes").
extension StandInCluster {
    private func selector(_ target: Target, _ request: APIRequest) throws(APIFailure) -> Selector {
        var selector = try Selector(
            labelSelector: request.query["labelSelector"] ?? "", fieldSelector: request.query["fieldSelector"] ?? "",
            of: target.type)
        if !target.name.isEmpty { selector.fields.append(("metadata.name", target.name, true)) }
        return selector
    }

    /// The table of "The resourceVersion parameter", "get and list".
    func list(_ target: Target, _ request: APIRequest) throws(APIFailure) -> APIAnswer {
        let selector = try selector(target, request)
        let match = request.query["resourceVersionMatch"]
        let text = request.query["resourceVersion"] ?? ""
        guard let asked = text.isEmpty ? 0 : Int(text) else {
            throw .badRequest("Invalid value: \"\(text)\": strconv.ParseUint: parsing \"\(text)\": invalid syntax")
        }
        if match != nil && text.isEmpty {
            throw APIFailure(
                422, "Invalid",
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is "
                    + "forbidden unless resourceVersion is provided")
        }
        if match == "Exact" && text == "0" {
            throw APIFailure(
                422, "Invalid",
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch "
                    + "\"exact\" is forbidden for resourceVersion \"0\"")
        }
        let limit = request.query["limit"].flatMap { Int($0) } ?? 0
        var revision = storage.revision
        var after: String?
        if let token = request.query["continue"], !token.isEmpty {
            guard text.isEmpty || text == "0" else {
                throw .badRequest("specifying resource version is not allowed when using continue")
            }
            guard let state = AccessControl.decode(token).flatMap({ try? JSONValue(parsing: $0) }),
                let start = state["start"]?.string, let old = state["rv"]?.int
            else { throw .badRequest("continue key is not valid") }
            after = start
            // A token with -1 goes on with what there is now ("410 Gone responses").
            if old > 0 {
                revision = old
                if old < storage.compacted {
                    throw .expired(
                        APIFailure.tooOldContinue, continuation: Self.token(revision: -1, start: start))
                }
            }
        } else if asked > 0 {
            guard asked <= storage.revision else {
                throw .tooLargeResourceVersion(asked, current: storage.revision)
            }
            if match == "Exact" || (match == nil && limit > 0) { revision = asked }
        }
        guard let all = storage.list(target.type, at: revision) else {
            throw .expired("The resourceVersion for the provided list is too old.")
        }
        var page: [Stored] = []
        var left = 0
        var last = ""
        for (key, stored) in all {
            if !target.namespace.isEmpty && key.namespace != target.namespace { continue }
            if let after, !after.utf8.lexicographicallyPrecedes(key.path.utf8) { continue }
            if !selector.matches(stored.object) { continue }
            if limit > 0 && page.count == limit {
                left += 1
            } else {
                page.append(stored)
                last = key.path
            }
        }
        var metadata: JSONValue = ["resourceVersion": .string(String(revision))]
        if left > 0 {
            metadata.set(.string(Self.token(revision: revision, start: last)), "continue")
            // "remainingItemCount" is left out with selectors.
            if selector.labels.isEmpty && selector.fields.isEmpty { metadata.set(.integer(left), "remainingItemCount") }
        }
        let form = ObjectForm(accept: request.headers["accept"] ?? "")
        let head: (kind: String, version: String) =
            switch form {
            case .whole: (target.type.kind + "List", target.type.groupVersion)
            case .partialMetadata: ("PartialObjectMetadataList", "meta.k8s.io/v1")
            }
        var bytes = Array(
            "{\"kind\":\"\(head.kind)\",\"apiVersion\":\"\(head.version)\",\"metadata\":\(metadata.canonicalText),\"items\":["
                .utf8)
        bytes.reserveCapacity(bytes.count + page.reduce(2) { $0 + $1.bytes.count + 1 })
        for (index, stored) in page.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes += form.bytes(of: stored)
        }
        bytes += Array("]}".utf8)
        return APIAnswer(body: .bytes(bytes))
    }

    private static func token(revision: Int, start: String) -> String {
        let token: JSONValue = ["v": "meta.k8s.io/v1", "rv": .integer(revision), "start": .string(start)]
        return AccessControl.encode(token.canonicalBytes)
    }

    /// The table of "The resourceVersion parameter", "watch".
    func watch(_ target: Target, _ request: APIRequest) throws(APIFailure) -> APIAnswer {
        let selector = try selector(target, request)
        let text = request.query["resourceVersion"] ?? ""
        guard let asked = text.isEmpty ? 0 : Int(text) else {
            throw .badRequest("Invalid value: \"\(text)\": strconv.ParseUint: parsing \"\(text)\": invalid syntax")
        }
        // "Streaming lists": the objects first, then a bookmark that says so.
        let streamsList = request.flag("sendInitialEvents")
        if request.query["sendInitialEvents"] != nil && request.query["resourceVersionMatch"] != "NotOlderThan" {
            throw APIFailure(
                422, "Invalid",
                "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires "
                    + "setting resourceVersionMatch to NotOlderThan")
        }
        guard asked <= storage.revision else { throw .tooLargeResourceVersion(asked, current: storage.revision) }
        let timeout = request.query["timeoutSeconds"].flatMap { Double($0) }
        // Without `timeoutSeconds` the API server picks 30 to 60 minutes.
        let deadline = clock.now + (timeout ?? Double.random(in: 1800..<3600, using: &random))
        // Bounded: a client that does not read its watch loses it.
        let (stream, output) = AsyncStream<[UInt8]>.makeStream(bufferingPolicy: .bufferingOldest(50_000))
        let wantsBookmarks = request.flag("allowWatchBookmarks")
        let form = ObjectForm(accept: request.headers["accept"] ?? "")
        let watch = WatchHub.Watch(
            resource: target.type.qualified, namespace: target.namespace.isEmpty ? nil : target.namespace,
            selector: selector, wantsBookmarks: wantsBookmarks, kind: (target.type.groupVersion, target.type.kind),
            form: form, deadline: deadline,
            nextBookmark: wantsBookmarks ? clock.now + Self.bookmarkInterval : nil, output: output)
        if asked > 0 && !streamsList {
            guard let missed = storage.changes(of: target.type, after: asked) else {
                // The watch cache accepts the request and then says it in an event; a client must take both, and a
                // plain 410 is what `answersExpiredWatchesByStatus` makes of it.
                let failure = APIFailure.expired("too old resource version: \(asked) (\(storage.compacted))")
                if answersExpiredWatchesByStatus { throw failure }
                output.yield(WatchHub.line("ERROR", failure.status.canonicalBytes))
                output.finish()
                return APIAnswer(body: .stream(stream))
            }
            for change in missed {
                if let event = WatchHub.event(for: change, watch) { output.yield(event) }
            }
        } else {
            // "Get State and Start": synthetic events for what there is.
            if request.query["sendInitialEvents"] != "false" {
                for (key, stored) in storage.list(target.type, at: storage.revision) ?? []
                where (watch.namespace == nil || key.namespace == watch.namespace) && selector.matches(stored.object) {
                    output.yield(WatchHub.line("ADDED", form.bytes(of: stored)))
                }
            }
            if streamsList {
                output.yield(WatchHub.bookmark(watch.kind, revision: storage.revision, endsInitial: true))
            }
        }
        let id = watches.add(watch)
        output.onTermination = { [weak self] _ in
            Task { await self?.endWatch(id) }
        }
        return APIAnswer(body: .stream(stream))
    }

    private func endWatch(_ id: Int) { watches.remove(id) }
}
