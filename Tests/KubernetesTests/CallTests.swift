import JSON
import TestSupport
import Testing

@testable import Kubernetes

@Suite("Calls to an API server")
struct CallTests {
    private let configMap = KubernetesObject(apiVersion: "v1", kind: "ConfigMap", namespace: "apps", name: "a")

    @Test("what is read keeps the fields that nothing here knows, and is sent back with them")
    func unknownFields() async throws {
        try await withClient { request, _, connection in
            connection.json(request.method == "PUT" ? request.json ?? .null : pod("a", version: 7))
        } _: { (client, server) async throws in
            var read = try await client.get(.pods, namespace: "apps", name: "a")
            read.labels["x"] = "y"
            read.finalizers = ["cistern/outcome"]
            let written = try await client.replace(.pods, read)
            #expect(written.value(at: "spec", "unknown", "kept") == true)
            #expect(written.labels == ["x": "y"] && written.finalizers == ["cistern/outcome"])
            #expect(written.resourceVersion == "7")
            let first = try #require(server.requests.first)
            #expect(first.target == "/api/v1/namespaces/apps/pods/a")
            #expect(first.header("Authorization") == "Bearer secret-token")
        }
    }

    @Test("reads are repeated on 5xx and 429, and wait as long as the server asks, up to a bound")
    func repeatedReads() async throws {
        let pauses = Pauses()
        try await withClient(pauses: pauses) { _, number, connection in
            switch number {
            case 0: connection.status(500, "InternalError")
            case 1: connection.status(429, "TooManyRequests", "", ["Retry-After: 7"])
            case 2: connection.status(503, "ServiceUnavailable", "", ["Retry-After: 7200"])
            case 3: break  // The connection ends without an answer.
            default: connection.json(pod("a", version: 1))
            }
        } _: { (client, _) async throws in
            #expect(try await client.get(.pods, namespace: "apps", name: "a").name == "a")
        }
        #expect(pauses.all.count == 4)
        #expect(pauses.all[1] == .seconds(7) && pauses.all[2] == .seconds(30))
    }

    @Test("attempts are bounded, and the last failure is told")
    func boundedAttempts() async throws {
        var limits = KubernetesClient.Limits()
        limits.attempts = 3
        try await withClient(limits: limits) { _, _, connection in
            connection.status(503, "ServiceUnavailable", "no\nleader")
        } _: { (client, server) async throws in
            let error = try await kubernetesError { _ = try await client.get(.pods, namespace: "apps", name: "a") }
            #expect(error?.status == APIStatus(code: 503, reason: "ServiceUnavailable", message: "no leader"))
            #expect(server.requests.count == 3)
        }
    }

    @Test(
        "a write whose answer is lost, or whose server failed, is unknown and not repeated", arguments: [true, false])
    func lostWrite(_ isCut: Bool) async throws {
        try await withClient { _, _, connection in
            if !isCut { connection.status(500, "InternalError", "etcdserver: request timed out") }
        } _: { (client, server) async throws in
            let error = try await kubernetesError { _ = try await client.create(.configMaps, configMap) }
            guard case .unknown = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(server.requests.count == 1)
        }
    }

    @Test("a write that the server has not begun with is repeated")
    func throttledWrite() async throws {
        try await withClient { request, number, connection in
            number == 0 ? connection.status(429, "TooManyRequests") : connection.json(201, request.json ?? .null)
        } _: { (client, server) async throws in
            let created = try await client.create(.configMaps, configMap)
            #expect(created.name == "a")
            #expect(server.requests.map(\.method) == ["POST", "POST"])
            #expect(server.requests[0].query["fieldManager"] == "cistern")
        }
    }

    @Test("an eviction that a disruption budget forbids is told at once")
    func eviction() async throws {
        try await withClient { _, _, connection in
            connection.status(429, "TooManyRequests", "budget")
        } _: { (client, server) async throws in
            let eviction = KubernetesObject(apiVersion: "policy/v1", kind: "Eviction", namespace: "apps", name: "a")
            let error = try await kubernetesError {
                _ = try await client.create(.pods, eviction, WriteOptions(subresource: "eviction"))
            }
            #expect(error?.status?.code == 429)
            #expect(server.requests.map(\.path) == ["/api/v1/namespaces/apps/pods/a/eviction"])
        }
    }

    @Test("a creation that reads back ends with one object, whatever answers are lost")
    func createReadingBack() async throws {
        try await withClient { request, number, connection in
            switch number {
            case 0: break  // Lost, and not done.
            case 1: connection.status(404, "NotFound")
            case 2: break  // Lost, but done.
            default: connection.json(pod("a", version: 3, uid: "mine"))
            }
        } _: { (client, server) async throws in
            let made = try await client.create(.configMaps, configMap) { $0.uid == "mine" }
            #expect(made.resourceVersion == "3")
            #expect(server.requests.map(\.method) == ["POST", "GET", "POST", "GET"])
        }
    }

    @Test("a creation that reads back takes nobody else's object")
    func createTaken() async throws {
        try await withClient { request, _, connection in
            request.method == "POST"
                ? connection.status(409, "AlreadyExists") : connection.json(pod("a", version: 3, uid: "theirs"))
        } _: { (client, _) async throws in
            let error = try await kubernetesError {
                _ = try await client.create(.configMaps, configMap) { $0.uid == "mine" }
            }
            #expect(error?.isAlreadyExists == true)
        }
    }

    @Test("an update reads again after a conflict and after a lost answer, and sees what it has done itself")
    func update() async throws {
        try await withClient { request, number, connection in
            switch number {
            case 0: connection.json(pod("a", version: 1))
            case 1: connection.status(409, "Conflict")
            case 2: connection.json(pod("a", version: 2))
            case 3: break
            default:
                var done = KubernetesObject(pod("a", version: 3)) ?? configMap
                done.labels["x"] = "y"
                connection.json(done.value)
            }
        } _: { (client, server) async throws in
            let result = try await client.update(.pods, namespace: "apps", name: "a") { read in
                var changed = read
                changed.labels["x"] = "y"
                return changed
            }
            #expect(result.resourceVersion == "3")
            #expect(server.requests.map(\.method) == ["GET", "PUT", "GET", "PUT", "GET"])
            #expect(server.requests[3].json?["metadata"]?["resourceVersion"] == "2")
        }
    }

    @Test("a deletion says its preconditions, and is repeated only if it names the uid")
    func delete() async throws {
        try await withClient { request, number, connection in
            switch number {
            case 0: break
            case 1: connection.json(["kind": "Status", "status": "Success"])
            default: break
            }
        } _: { (client, server) async throws in
            let options = DeleteOptions(uid: "u", resourceVersion: "3", propagation: .foreground)
            #expect(try await client.delete(.jobs, namespace: "apps", name: "a", options) == nil)
            #expect(server.requests.count == 2)
            #expect(server.requests[1].json?["preconditions"] == ["uid": "u", "resourceVersion": "3"])
            #expect(server.requests[1].json?["propagationPolicy"] == "Foreground")
            let error = try await kubernetesError { _ = try await client.delete(.jobs, namespace: "apps", name: "a") }
            guard case .unknown = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(server.requests.count == 3)
        }
    }

    @Test("patches have their media types, and JSON patches escape their paths")
    func patches() async throws {
        try await withClient { _, _, connection in
            connection.json(pod("a", version: 1))
        } _: { (client, server) async throws in
            let path = ["metadata", "annotations", "cistern.dev/a~b"]
            _ = try await client.patch(.pods, namespace: "apps", name: "a", [.test(path, "x"), .remove(path)])
            _ = try await client.mergePatch(
                .pods, namespace: "apps", name: "a", ["status": [:]], WriteOptions(subresource: "status"))
            _ = try await client.apply(.configMaps, configMap, force: true, WriteOptions(isDryRun: true))
            let requests = server.requests
            #expect(
                requests.map { $0.header("Content-Type") } == [
                    "application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml",
                ])
            #expect(
                requests[0].json == [
                    ["op": "test", "path": "/metadata/annotations/cistern.dev~1a~0b", "value": "x"],
                    ["op": "remove", "path": "/metadata/annotations/cistern.dev~1a~0b"],
                ])
            #expect(requests[1].path.hasSuffix("/pods/a/status"))
            #expect(requests[2].query == ["fieldManager": "cistern", "force": "true", "dryRun": "All"])
        }
    }

    @Test("a conflict of server-side apply names its fields")
    func applyConflict() async throws {
        try await withClient { _, _, connection in
            connection.json(
                409,
                [
                    "kind": "Status", "reason": "Conflict", "code": 409, "message": "Apply failed with 1 conflict",
                    "details": [
                        "causes": [
                            [
                                "reason": "FieldManagerConflict", "message": "conflict with \"kubectl\"",
                                "field": ".spec.replicas",
                            ]
                        ]
                    ],
                ])
        } _: { (client, _) async throws in
            let error = try await kubernetesError { _ = try await client.apply(.configMaps, configMap, force: false) }
            #expect(error?.isConflict == true)
            #expect(error?.status?.causes.map(\.field) == [".spec.replicas"])
        }
    }

    @Test("errors about Secrets repeat nothing of them, and no error has the token")
    func secrets() async throws {
        try await withClient { _, _, connection in
            connection.status(422, "Invalid", "data[key]: Invalid value: \"hunter2\"")
        } _: { (client, _) async throws in
            let secret = KubernetesObject(apiVersion: "v1", kind: "Secret", namespace: "apps", name: "a")
            let error = try #require(try await kubernetesError { _ = try await client.create(.secrets, secret) })
            #expect(error.status?.code == 422)
            for text in [
                "\(error)", String(reflecting: error), "\(client.connection)", String(reflecting: client.connection),
            ] {
                #expect(!text.contains("hunter2") && !text.contains("secret-token"))
            }
        }
    }

    @Test("names can't leave their path", arguments: ["", ".", ".."])
    func names(_ name: String) async throws {
        try await withClient { _, _, connection in
            connection.json(pod("a", version: 1))
        } _: { (client, server) async throws in
            await #expect(throws: KubernetesError.self) {
                _ = try await client.get(.pods, namespace: "apps", name: name)
            }
            _ = try await client.get(.pods, namespace: "apps", name: "../secrets/x?a#b")
            #expect(server.requests.map(\.target) == ["/api/v1/namespaces/apps/pods/..%2Fsecrets%2Fx%3Fa%23b"])
        }
    }

    @Test("a redirect is not followed: it would take the token elsewhere")
    func redirect() async throws {
        try await withClient { _, _, connection in
            connection.answer(302, ["Location: /elsewhere"])
        } _: { (client, server) async throws in
            let error = try await kubernetesError { _ = try await client.get(.pods, namespace: "apps", name: "a") }
            #expect(error?.status?.code == 302)
            #expect(server.requests.count == 1)
        }
    }

    @Test("an answer that does not come is given up, and a cancelled call ends at once")
    func silence() async throws {
        var limits = KubernetesClient.Limits()
        limits.attempt = .milliseconds(100)
        limits.attempts = 2
        try await withClient(limits: limits) { _, _, connection in
            connection.stall()
        } _: { (client, _) async throws in
            let error = try await kubernetesError { _ = try await client.get(.pods, namespace: "apps", name: "a") }
            #expect(error == .timedOut("it does not answer"))
        }
        try await withClient { _, _, connection in
            connection.stall()
        } _: { (client, server) async throws in
            let call = Task { try await client.get(.pods, namespace: "apps", name: "a") }
            try await waitUntil("the request has come") { !server.requests.isEmpty }
            call.cancel()
            await #expect(throws: CancellationError.self) { try await call.value }
        }
    }

    @Test("an answer that is too large is not read")
    func largeAnswer() async throws {
        var limits = KubernetesClient.Limits()
        limits.answer = 100
        try await withClient(limits: limits) { _, _, connection in
            connection.json(pod(String(repeating: "a", count: 200), version: 1))
        } _: { (client, server) async throws in
            let error = try await kubernetesError { _ = try await client.get(.pods, namespace: "apps", name: "a") }
            #expect(error == .malformed("it has more than 100 bytes"))
            #expect(server.requests.count == 1)
        }
    }

    @Test("requests keep to the client's own rate")
    func rate() {
        let rate = RequestRate(perSecond: 10, burst: 3)
        #expect((0..<3).map { _ in rate.reserve(at: 0, limit: 0) } == [0, 0, 0])
        #expect(rate.reserve(at: 0, limit: 50_000_000) == nil)
        #expect(rate.reserve(at: 0, limit: 100_000_000) == 100_000_000)
        #expect(rate.reserve(at: 1_000_000_000, limit: 0) == 0)
    }
}
