import JSON
import Testing

@testable import KubernetesTesting

@Suite("The stand-in API server")
struct APITests {
    let cluster = StandInCluster(controllers: false)

    @Test("a write with an old version is refused, and a second object of a name")
    func conflicts() async {
        let client = await Client(cluster)
        let made = await client.post(maps, map("a"))
        #expect(made.code == 201 && made.json.metadata["creationTimestamp"]?.string != nil)
        #expect(await client.post(maps, map("a")).reason == "AlreadyExists")
        var changed = made.json
        changed.set("1", "data", "x")
        let updated = await client.send("PUT", "\(maps)/a", changed)
        #expect(updated.code == 200)
        #expect(Int(updated.json.resourceVersion) ?? 0 > Int(made.json.resourceVersion) ?? .max)
        let late = await client.send("PUT", "\(maps)/a", changed)
        #expect(late.code == 409 && late.reason == "Conflict" && late.json.at("details", "name") == "a")
        #expect(await client.get("\(maps)/b").json.at("details", "kind") == "configmaps")
        #expect(await client.post("/api/v1/namespaces/nowhere/configmaps", map("a")).code == 404)
    }

    @Test("what nothing changes gets no new version, and a dry run changes nothing")
    func dryRuns() async {
        let client = await Client(cluster)
        #expect(await client.post(maps + "?dryRun=All", map("a")).code == 201)
        #expect(await client.get("\(maps)/a").code == 404)
        let made = await client.post(maps, map("a", ["x": "1"]))
        let same = await client.patch("\(maps)/a", ["data": ["x": "1"]])
        #expect(same.json.resourceVersion == made.json.resourceVersion)
    }

    @Test("the status is written by its subresource alone, and the spec counts generations")
    func status() async {
        let client = await Client(cluster)
        let made = await client.post(sets, workload("StatefulSet", "s", replicas: 1))
        #expect(made.json.metadata["generation"] == 1)
        let tried = await client.patch("\(sets)/s", ["status": ["replicas": 5], "spec": ["replicas": 2]])
        #expect(tried.json.at("status", "replicas") == nil && tried.json.metadata["generation"] == 2)
        let written = await client.patch("\(sets)/s/status", ["status": ["replicas": 5], "spec": ["replicas": 9]])
        #expect(written.json.at("status", "replicas") == 5 && written.json.at("spec", "replicas") == 2)
        #expect(written.json.metadata["generation"] == 2)
        #expect(await client.patch("\(sets)/s", ["spec": ["serviceName": "other"]]).reason == "Invalid")
    }

    @Test("a list in pieces is one moment, and its token expires with its moment")
    func paging() async throws {
        let client = await Client(cluster)
        for index in 0..<5 { _ = await client.post(maps, map("m\(index)")) }
        let first = await client.get(maps + "?limit=2")
        #expect(first.json.at("metadata", "remainingItemCount") == 3)
        let token = try #require(first.json.at("metadata", "continue")?.string)
        _ = await client.delete("\(maps)/m3")
        _ = await client.post(maps, map("m2b"))
        let second = await client.get(maps + "?limit=9&continue=\(token)")
        #expect(second.json["items"]?.array?.map(\.name) == ["m2", "m3", "m4"])
        #expect(second.json.resourceVersion == first.json.resourceVersion)
        await cluster.compact()
        _ = await client.post(maps, map("z"))
        let late = await client.get(maps + "?limit=9&continue=\(token)")
        #expect(late.code == 410 && late.reason == "Expired")
        let rest = try #require(late.json.at("metadata", "continue")?.string)
        #expect(
            await client.get(maps + "?continue=\(rest)").json["items"]?.array?.map(\.name) == ["m2", "m2b", "m4", "z"])
    }

    @Test("a list waits for no version: one that is not there yet is refused, one that is gone too")
    func versions() async {
        let client = await Client(cluster)
        let made = await client.post(maps, map("a"))
        let version = made.json.resourceVersion
        _ = await client.post(maps, map("b"))
        let exact = await client.get(maps + "?resourceVersion=\(version)&resourceVersionMatch=Exact")
        #expect(exact.json["items"]?.array?.count == 1)
        let newer = await client.get(maps + "?resourceVersion=\(version)&resourceVersionMatch=NotOlderThan")
        #expect(newer.json["items"]?.array?.count == 2)
        let future = await client.get(maps + "?resourceVersion=999999")
        #expect(future.code == 504 && future.json.at("details", "retryAfterSeconds") == 1)
        await cluster.compact()
        #expect(await client.get(maps + "?resourceVersion=\(version)&resourceVersionMatch=Exact").code == 410)
    }

    @Test("a watch tells what happened since its version, and what its selector sees of it")
    func watches() async throws {
        let client = await Client(cluster)
        let start = await client.post(maps, map("a", labels: ["x": "1"])).json.resourceVersion
        _ = await client.post(maps, map("b", labels: ["x": "1"]))
        let watch = await client.get(
            maps + "?watch=1&labelSelector=x%3D1&allowWatchBookmarks=true&resourceVersion=\(start)")
        _ = await client.patch("\(maps)/a", ["metadata": ["labels": ["x": "2"]]])
        _ = await client.post(maps, map("c"))
        _ = await client.delete("\(maps)/b")
        await cluster.sendBookmarks()
        let seen = try await events(watch.stream, 4)
        #expect(seen.compactMap { $0["type"]?.string } == ["ADDED", "DELETED", "DELETED", "BOOKMARK"])
        #expect(seen.compactMap { $0["object"]?.name } == ["b", "a", "b", ""])
        #expect(seen.last?["object"]?.resourceVersion == String(await cluster.resourceVersion))
    }

    @Test("a watch from a version that is gone says 410 as an event, or as a status")
    func expiredWatch() async throws {
        let client = await Client(cluster)
        let start = await client.post(maps, map("a")).json.resourceVersion
        _ = await client.post(maps, map("b"))
        await cluster.compact()
        let target = maps + "?watch=1&resourceVersion=\(start)"
        let event = try await events(await client.get(target).stream, 1).first
        #expect(event?["type"] == "ERROR" && event?.at("object", "code") == 410)
        await cluster.answerExpiredWatchesByStatus(true)
        #expect(await client.get(target).code == 410)
    }

    @Test("a watch ends with its time, with a bookmark before")
    func watchTime() async throws {
        let client = await Client(cluster)
        let watch = await client.get(maps + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=30")
        await cluster.advance(by: 31)
        #expect(try await events(watch.stream, .max).compactMap { $0["type"]?.string } == ["BOOKMARK"])
        #expect(await cluster.openWatches == 0)
    }

    @Test("a JSON patch whose test fails is 422, a media type that is none 415")
    func patches() async throws {
        let client = await Client(cluster)
        _ = await client.post(maps, map("a", ["x": "1"]))
        let failing = try JSONValue(
            parsing: #"[{"op":"test","path":"/data/x","value":"2"},{"op":"remove","path":"/data/x"}]"#)
        let refused = await client.patch("\(maps)/a", failing, "json-patch+json")
        #expect(refused.code == 422 && refused.reason == "Invalid")
        let good = try JSONValue(
            parsing: #"[{"op":"test","path":"/data/x","value":"1"},{"op":"add","path":"/data/y","value":"2"}]"#)
        #expect(await client.patch("\(maps)/a", good, "json-patch+json").json.at("data", "y") == "2")
        #expect(await client.patch("\(maps)/a", ["data": ["x": .null]]).json["data"] == ["y": "2"])
        #expect(await client.patch("\(maps)/a", [:], "json").code == 415)
    }

    @Test("a strategic merge patch changes one container by its name")
    func strategic() async {
        let client = await Client(cluster)
        _ = await client.post(sets, workload("StatefulSet", "s", replicas: 1))
        let patch: JSONValue = ["spec": ["template": ["spec": ["containers": [["name": "app", "image": "new"]]]]]]
        let patched = await client.patch("\(sets)/s", patch, "strategic-merge-patch+json")
        let containers = patched.json.at("spec", "template", "spec", "containers")?.array
        #expect(containers?.count == 1 && containers?.first?["image"] == "new")
        #expect(containers?.first?["imagePullPolicy"] == "IfNotPresent")
    }

    @Test("apply: fields have owners, conflicts name them, force takes them, and what is left out goes")
    func apply() async {
        let client = await Client(cluster)
        func apply(_ data: [String: String], by manager: String, force: Bool = false) async -> Client.Answer {
            await client.patch(
                "\(maps)/a?fieldManager=\(manager)&force=\(force)", map("a", data), "apply-patch+yaml")
        }
        #expect(await apply(["x": "1", "y": "1"], by: "one").code == 201)
        let again = await apply(["x": "1", "y": "1"], by: "one")
        let conflict = await apply(["x": "2"], by: "two")
        #expect(conflict.code == 409 && conflict.reason == "Conflict")
        let cause = conflict.json.at("details", "causes")?.array?.first
        #expect(cause?["reason"] == "FieldManagerConflict" && cause?["field"] == ".data.x")
        #expect(cause?["message"] == "conflict with \"one\"")
        #expect(await client.get("\(maps)/a").json.resourceVersion == again.json.resourceVersion)
        #expect(await apply(["x": "1"], by: "two").code == 200)
        #expect(await apply(["x": "2"], by: "two", force: true).json["data"] == ["x": "2", "y": "1"])
        // `x` belongs to the other one now, `y` to nobody else.
        #expect(await apply([:], by: "one").json["data"] == ["x": "2"])
        let none = await client.patch("\(maps)/a", map("a"), "apply-patch+yaml")
        #expect(none.code == 422)
    }

    @Test("applied containers are merged by their names, and a later update takes the fields that it changes")
    func applyLists() async {
        let client = await Client(cluster)
        let path = "\(sets)/s?fieldManager=one"
        #expect(await client.patch(path, workload("StatefulSet", "s", replicas: 1), "apply-patch+yaml").code == 201)
        _ = await client.patch("\(sets)/s?fieldManager=hpa", ["spec": ["replicas": 3]])
        let conflict = await client.patch(path, workload("StatefulSet", "s", replicas: 1), "apply-patch+yaml")
        #expect(conflict.json.at("details", "causes")?.array?.first?["field"] == ".spec.replicas")
        var sidecar = workload("StatefulSet", "s", replicas: 1)
        sidecar.set(nil, "spec", "replicas")
        sidecar.set([["name": "side", "image": "b"]], "spec", "template", "spec", "containers")
        let merged = await client.patch("\(sets)/s?fieldManager=two", sidecar, "apply-patch+yaml")
        let names = merged.json.at("spec", "template", "spec", "containers")?.array?.compactMap { $0["name"]?.string }
        #expect(names == ["app", "side"] && merged.json.at("spec", "replicas") == 3)
    }

    @Test("failures come as a test wants them: refused, lost before, lost after")
    func faults() async {
        let client = await Client(cluster)
        await cluster.inject(FaultRule(verbs: ["create"], .answer(code: 429, retryAfter: 7)))
        #expect(await client.post(maps, map("a")).json.at("details", "retryAfterSeconds") == 7)
        await cluster.inject(FaultRule(verbs: ["create"], .loseRequest))
        #expect(await client.post(maps, map("a")).code == 0)
        #expect(await client.get("\(maps)/a").code == 404)
        await cluster.inject(FaultRule(verbs: ["create"], .loseAnswer))
        #expect(await client.post(maps, map("a")).code == 0)
        #expect(await client.get("\(maps)/a").code == 200)
        await cluster.failRandomly(share: 0.2, seed: 4)
        var failed = 0
        for _ in 0..<500 where await client.get("\(maps)/a").code != 200 { failed += 1 }
        #expect((60..<140).contains(failed))
    }

    @Test("roles: what is not granted is refused, what was used and what was not is known")
    func roles() async throws {
        var client = await Client(cluster)
        let rbac = "/apis/rbac.authorization.k8s.io/v1"
        _ = await client.post(
            "\(rbac)/namespaces/default/roles",
            [
                "metadata": ["name": "reader"],
                "rules": [["apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]]],
            ])
        _ = await client.post(
            "\(rbac)/namespaces/default/rolebindings",
            [
                "metadata": ["name": "reader"], "roleRef": ["kind": "Role", "name": "reader"],
                "subjects": [["kind": "ServiceAccount", "name": "default", "namespace": "default"]],
            ])
        await cluster.checkRoles()
        let token = try #require(await cluster.serviceAccountToken(namespace: "default", name: "default")?.token)
        client.token = token
        #expect(await client.get(maps).code == 200)
        #expect(await client.post(maps, map("a")).reason == "Forbidden")
        #expect(await client.get("/api/v1/namespaces/kube-system/configmaps").code == 403)
        let user = User("system:serviceaccount:default:default")
        #expect(await cluster.unusedRights(of: user).map(\.description) == ["get configmaps"])
        #expect(await cluster.deniedRights(of: user.name).map(\.verb).contains("create"))
        await cluster.advance(by: 3601)
        #expect(await client.get(maps).code == 401)
    }
}
