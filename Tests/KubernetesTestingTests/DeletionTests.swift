import JSON
import Testing

@testable import KubernetesTesting

@Suite("Deletion in the stand-in")
struct DeletionTests {
    let cluster = StandInCluster()

    private func owned(_ name: String, by owner: JSONValue) -> JSONValue {
        var object = map(name)
        object.set(
            [
                [
                    "kind": "ConfigMap", "apiVersion": "v1", "name": .string(owner.name), "uid": .string(owner.uid),
                    "blockOwnerDeletion": true,
                ]
            ], "metadata", "ownerReferences")
        return object
    }

    @Test("a precondition that does not hold is 409, a finalizer keeps what is deleted")
    func finalizers() async {
        let client = await Client(cluster)
        var object = map("a")
        object.set(["test/hold"], "metadata", "finalizers")
        let made = await client.post(maps, object)
        #expect(await client.delete("\(maps)/a", ["preconditions": ["uid": "other"]]).code == 409)
        let held = await client.delete("\(maps)/a", ["preconditions": ["uid": .string(made.json.uid)]])
        #expect(held.json.metadata["deletionTimestamp"] != nil)
        let more = await client.patch("\(maps)/a", ["metadata": ["finalizers": ["test/hold", "test/more"]]])
        #expect(more.code == 422)
        #expect(await client.patch("\(maps)/a", ["metadata": ["finalizers": .null]]).code == 200)
        #expect(await client.get("\(maps)/a").code == 404)
    }

    @Test("what an owner leaves behind goes in the background, before it in the foreground, or stays as an orphan")
    func propagation() async {
        let client = await Client(cluster)
        for policy in ["Background", "Foreground", "Orphan"] {
            let owner = await client.post(maps, map("owner")).json
            var child = owned("child", by: owner)
            child.set(["test/hold"], "metadata", "finalizers")
            _ = await client.post(maps, child)
            _ = await client.delete("\(maps)/owner", ["propagationPolicy": .string(policy)])
            await cluster.settle()
            let left = await client.get("\(maps)/child").json
            #expect(await client.get("\(maps)/owner").code == (policy == "Foreground" ? 200 : 404))
            #expect((left.metadata["deletionTimestamp"] != nil) == (policy != "Orphan"))
            #expect(left.ownerReferences.isEmpty == (policy == "Orphan"))
            _ = await client.patch("\(maps)/child", ["metadata": ["finalizers": .null]])
            await cluster.settle()
            #expect(await client.get("\(maps)/owner").code == 404)
            _ = await client.delete("\(maps)/child")
        }
    }

    @Test("a namespace goes after its content, and says what holds it")
    func namespaces() async {
        let client = await Client(cluster)
        _ = await client.post("/api/v1/namespaces", ["metadata": ["name": "n"]])
        var object = map("a")
        object.set(["test/hold"], "metadata", "finalizers")
        _ = await client.post("/api/v1/namespaces/n/configmaps", object)
        _ = await client.delete("/api/v1/namespaces/n")
        await cluster.settle()
        let space = await client.get("/api/v1/namespaces/n").json
        #expect(space.at("status", "phase") == "Terminating")
        #expect(StandInCluster.condition(space, "NamespaceFinalizersRemaining"))
        #expect(await client.post("/api/v1/namespaces/n/configmaps", map("b")).reason == "Forbidden")
        _ = await client.patch("/api/v1/namespaces/n/configmaps/a", ["metadata": ["finalizers": .null]])
        await cluster.settle()
        #expect(await client.get("/api/v1/namespaces/n").code == 404)
    }

    @Test("a budget holds evictions up")
    func eviction() async {
        let client = await Client(cluster)
        _ = await client.post(sets, workload("StatefulSet", "s", replicas: 2))
        _ = await client.post(
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            [
                "metadata": ["name": "b"],
                "spec": ["minAvailable": 2, "selector": ["matchLabels": ["app": "s"]]],
            ])
        await cluster.settle()
        let eviction: JSONValue = ["kind": "Eviction", "apiVersion": "policy/v1", "metadata": ["name": "s-0"]]
        let refused = await client.post("\(podsPath)/s-0/eviction", eviction)
        #expect(refused.code == 429)
        #expect(refused.json.at("details", "causes")?.array?.first?["reason"] == "DisruptionBudget")
        _ = await client.delete("/apis/policy/v1/namespaces/default/poddisruptionbudgets/b")
        let before = await client.get("\(podsPath)/s-0").json.uid
        #expect(await client.post("\(podsPath)/s-0/eviction", eviction).code == 201)
        await cluster.settle()
        #expect(await client.get("\(podsPath)/s-0").json.uid != before)
    }
}
