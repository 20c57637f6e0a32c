import JSON
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import Kubernetes

@Suite("Lists and watches")
struct ListAndWatchTests {
    @Test("a list is read page by page, and its items know what they are")
    func pages() async throws {
        try await withClient { request, number, connection in
            var item = pod("p\(number)", version: 5).object ?? [:]
            item["kind"] = nil
            item["apiVersion"] = nil
            connection.json(list([.object(item)], version: 9, next: number < 2 ? "token \(number)" : nil))
        } _: { (client, server) async throws in
            let (objects, version) = try await client.list(
                .pods, ListOptions(labelSelector: "a=b,c", limit: 1))
            #expect(objects.map(\.name) == ["p0", "p1", "p2"] && version == "9")
            #expect(objects.allSatisfy { $0.kind == "Pod" && $0.apiVersion == "v1" })
            #expect(server.requests.map { $0.query["continue"] } == [nil, "token%200", "token%201"])
            #expect(server.requests[0].query["labelSelector"] == "a%3Db%2Cc")
            #expect(server.requests[0].path == "/api/v1/pods")
        }
    }

    @Test("a list whose next page has expired begins anew and has nothing twice")
    func expiredPage() async throws {
        try await withClient { _, number, connection in
            switch number {
            case 0: connection.json(list([pod("old", version: 1)], version: 1, next: "t"))
            case 1: connection.status(410, "Expired")
            default: connection.json(list([pod("new", version: 2)], version: 2))
            }
        } _: { (client, _) async throws in
            let (objects, version) = try await client.list(.pods)
            #expect(objects.map(\.name) == ["new"] && version == "2")
        }
    }

    @Test("a list that does not go on, or is none, is an error", arguments: [#"{"items":[]}"#, "[]", "{", ""])
    func brokenList(_ text: String) async throws {
        try await withClient { _, _, connection in
            connection.answer(200, [], Array(text.utf8))
        } _: { (client, _) async throws in
            await #expect(throws: KubernetesError.self) { try await client.list(.pods) }
        }
        try await withClient { _, _, connection in
            connection.json(list([], version: 1, next: "same"))
        } _: { (client, _) async throws in
            await #expect(throws: KubernetesError.self) { try await client.list(.pods) }
        }
    }

    @Test("slices are where the values are, whatever stands in strings")
    func slices() throws {
        let text = #" { "a\"" : [ 1 , "]}\\" , { "x" : [ ] } , null,true ] , "b":-1.5e3, "c" : "" } "#
        let members = try JSONSlices.members(of: Array(text.utf8)[...])
        #expect(members.map { $0.name } == ["a\"", "b", "c"])
        let elements = try JSONSlices.elements(of: members[0].value)
        #expect(
            try elements.map { try JSONValue(parsing: $0) } == [
                1, "]}\\", ["x": []], .null, true,
            ])
        for broken in ["", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":\"", "[1", "{\"a\":1,}", "{1:2}"] {
            #expect(throws: JSONSlices.Fault.self) { try JSONSlices.members(of: Array(broken.utf8)[...]) }
        }
    }

    @Test("lines come whole, however they are cut, and are bounded")
    func lines() throws {
        var lines = Lines(maximum: 5)
        var seen: [String?] = []
        for (chunk, count) in [("ab", 1), ("c\n\nde\nf", 3)] {
            lines.append(ByteBuffer(string: chunk))
            for _ in 0..<count { seen.append(try lines.next().map { String(decoding: $0, as: UTF8.self) }) }
        }
        #expect(seen == [nil, "abc", "de", nil])
        lines.append(ByteBuffer(string: "ghijk"))
        #expect(throws: KubernetesError.self) { try lines.next() }
    }

    @Test("a watch goes on after its last event or bookmark when it breaks, ends or is silent for too long")
    func resume() async throws {
        var limits = KubernetesClient.Limits()
        limits.watchSilence = .milliseconds(200)
        try await withClient(limits: limits) { request, number, connection in
            connection.head(200, ["Transfer-Encoding: chunked"])
            switch number {
            case 0:
                connection.chunk(event("ADDED", pod("a", version: 11)))
                // Half an event, and then the connection is gone.
                connection.chunk(#"{"type":"MODIFIED","object":{"meta"#)
            case 1:
                connection.chunk(event("BOOKMARK", ["kind": "Pod", "metadata": ["resourceVersion": "20"]]))
                connection.endChunks()
            case 2:
                connection.chunk(event("MODIFIED", pod("a", version: 21)))
                connection.stall()
            case 3:
                let deleted = event("DELETED", pod("a", version: 22))
                connection.chunk(String(deleted.prefix(10)))
                connection.chunk(String(deleted.dropFirst(10)))
                connection.chunk(event("ERROR", ["kind": "Status", "code": 410, "reason": "Expired"]))
            default: break
            }
        } _: { (client, server) async throws in
            var seen: [String] = []
            let error = try await kubernetesError {
                for try await event in client.watch(.pods, namespace: "apps", since: "10") {
                    switch event {
                    case .added(let object): seen.append("+\(object.resourceVersion)")
                    case .modified(let object): seen.append("~\(object.resourceVersion)")
                    case .deleted(let object): seen.append("-\(object.resourceVersion)")
                    case .bookmark(let version): seen.append("=\(version)")
                    }
                }
            }
            #expect(error?.isExpired == true)
            #expect(seen == ["+11", "=20", "~21", "-22"])
            let queries = server.requests.map(\.query)
            #expect(queries.map { $0["resourceVersion"] } == ["10", "11", "20", "21"])
            #expect(queries.allSatisfy { $0["allowWatchBookmarks"] == "true" && $0["timeoutSeconds"] != nil })
        }
    }

    @Test("a watch that never tells anything ends after some attempts; one that is refused ends at once")
    func hopelessWatch() async throws {
        var limits = KubernetesClient.Limits()
        limits.attempts = 3
        try await withClient(limits: limits) { request, _, connection in
            if request.path.hasSuffix("/pods") { return connection.answer(200) }
            connection.status(410, "Expired", "too old resource version: 1 (5)")
        } _: { (client, server) async throws in
            let silent = try await kubernetesError { for try await _ in client.watch(.pods, since: "1") {} }
            guard case .unreachable = silent else {
                Issue.record("\(String(describing: silent))")
                return
            }
            #expect(server.requests.count == 3)
            let expired = try await kubernetesError { for try await _ in client.watch(.jobs, since: "1") {} }
            #expect(expired?.isExpired == true)
            #expect(server.requests.count == 4)
        }
    }

    @Test("a watch that is cancelled closes its connection")
    func cancelledWatch() async throws {
        let isClosed = Atomic(false)
        try await withClient { _, _, connection in
            connection.head(200, ["Transfer-Encoding: chunked"])
            connection.chunk(event("ADDED", pod("a", version: 1)))
            connection.stall()
            isClosed.store(true, ordering: .relaxed)
        } _: { (client, _) async throws in
            let isWatching = Atomic(false)
            let watch = Task {
                for try await _ in client.watch(.pods, since: "0") { isWatching.store(true, ordering: .relaxed) }
            }
            try await waitUntil("an event has come") { isWatching.load(ordering: .relaxed) }
            watch.cancel()
            await #expect(throws: CancellationError.self) { try await watch.value }
            try await waitUntil("the connection is closed") { isClosed.load(ordering: .relaxed) }
        }
    }

    @Test("a reflector follows a collection through a watch that expires, and keeps projections alone")
    func reflector() async throws {
        try await withClient { request, number, connection in
            guard request.query["watch"] == nil else {
                connection.head(200, ["Transfer-Encoding: chunked"])
                switch request.query["resourceVersion"] {
                case "5":
                    connection.chunk(event("ADDED", pod("c", version: 6, uid: "c1")))
                    connection.chunk(event("MODIFIED", pod("a", version: 7, uid: "a2")))
                    connection.chunk(event("DELETED", pod("c", version: 8, uid: "c1")))
                    connection.chunk(event("ERROR", ["kind": "Status", "code": 410]))
                default: connection.stall()
                }
                return
            }
            if number == 0 {
                let items = [pod("a", version: 3, uid: "a1"), pod("b", version: 4, uid: "b1"), pod("skip", version: 1)]
                connection.json(list(items, version: 5))
            } else {
                connection.json(list([pod("a", version: 7, uid: "a2"), pod("d", version: 9, uid: "d1")], version: 10))
            }
        } _: { (client, _) async throws in
            let reflector = Reflector(client, .pods) { $0.name == "skip" ? nil : $0.uid }
            let told = Mutex<[String]>([])
            let run = Task {
                try await reflector.run { event in
                    let text =
                        switch event {
                        case .added(let key, let uid): "+\(key) \(uid)"
                        case .modified(let key, let uid, let before): "~\(key) \(before) \(uid)"
                        case .deleted(let key, let last): "-\(key) \(last)"
                        case .synced: "synced"
                        }
                    told.withLock { $0.append(text) }
                }
            }
            try await waitUntil("it was listed twice") {
                told.withLock { told in told.filter { $0 == "synced" }.count == 2 }
            }
            run.cancel()
            await #expect(throws: CancellationError.self) { try await run.value }
            #expect(
                told.withLock { $0 } == [
                    "+apps/a a1", "+apps/b b1", "synced", "+apps/c c1", "~apps/a a1 a2", "-apps/c c1", "+apps/d d1",
                    "-apps/b b1", "synced",
                ])
            #expect(
                reflector.values == [
                    ObjectKey(namespace: "apps", name: "a"): "a2", ObjectKey(namespace: "apps", name: "d"): "d1",
                ])
            #expect(reflector.health.isSynced && reflector.health.failure == nil)
        }
    }

    @Test("a reflector keeps what it has and says so while the server refuses it; its consumer's error ends it")
    func reflectorTrouble() async throws {
        struct Enough: Error {}
        try await withClient { request, _, connection in
            request.query["watch"] == nil
                ? connection.json(list([pod("a", version: 1)], version: 1)) : connection.status(403, "Forbidden")
        } _: { (client, _) async throws in
            let reflector = Reflector(client, .pods) { $0.uid }
            let run = Task { try await reflector.run() }
            try await waitUntil("the failure shows") { reflector.health.failure?.contains("Forbidden") == true }
            #expect(reflector.count == 1 && reflector.health.isSynced)
            run.cancel()
            _ = await run.result
            await #expect(throws: Enough.self) { try await reflector.run { _ in throw Enough() } }
        }
    }

    @Test("a log is read as it comes, and one that is followed ends with its time")
    func log() async throws {
        try await withClient { request, number, connection in
            connection.head(200, ["Transfer-Encoding: chunked"])
            connection.chunk("one\n")
            if number == 0 {
                connection.chunk("two\n")
                connection.endChunks()
            } else {
                connection.stall()
            }
        } _: { (client, server) async throws in
            var options = LogOptions()
            options.container = "main"
            options.limitBytes = 100
            let text = try await client.withLog(of: "a", namespace: "apps", options) { log in
                try await log.reduce(into: "") { $0 += String(decoding: $1, as: UTF8.self) }
            }
            #expect(text == "one\ntwo\n")
            #expect(server.requests[0].query == ["container": "main", "limitBytes": "100"])
            options.follow = true
            options.whole = .milliseconds(200)
            let error = try await kubernetesError {
                try await client.withLog(of: "a", namespace: "apps", options) { log in for try await _ in log {} }
            }
            #expect(error == .timedOut("reading the log of apps/a"))
        }
    }
}
