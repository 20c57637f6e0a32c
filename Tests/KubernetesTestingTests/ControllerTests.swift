import Foundation
import JSON
import Testing

@testable import KubernetesTesting

@Suite("Controllers and kubelets of the stand-in")
struct ControllerTests {
    let cluster = StandInCluster()

    private func images(_ cluster: StandInCluster) async -> [String: String] {
        var images: [String: String] = [:]
        for pod in await cluster.objects(.pods, namespace: "default") {
            images[pod.name] = pod.at("spec", "containers")?.array?.first?["image"]?.string
        }
        return images
    }

    @Test("a StatefulSet is updated from its last pod to its partition, one at a time, and its revisions say so")
    func statefulSet() async {
        let client = await Client(cluster)
        _ = await client.post(sets, workload("StatefulSet", "s", replicas: 3, image: "a:1"))
        await cluster.settle()
        let first = await client.get("\(sets)/s").json
        #expect(first.at("status", "readyReplicas") == 3)
        let patch: JSONValue = [
            "spec": [
                "updateStrategy": ["rollingUpdate": ["partition": 2]],
                "template": ["spec": ["containers": [["name": "app", "image": "a:2"]]]],
            ]
        ]
        _ = await client.patch("\(sets)/s", patch, "strategic-merge-patch+json")
        await cluster.settle()
        #expect(await images(cluster) == ["s-0": "a:1", "s-1": "a:1", "s-2": "a:2"])
        let held = await client.get("\(sets)/s").json
        #expect(held.at("status", "currentRevision") == first.at("status", "currentRevision"))
        #expect(held.at("status", "updateRevision") != first.at("status", "updateRevision"))
        #expect(held.at("status", "updatedReplicas") == 1)
        // Below the partition a pod comes back as it was.
        _ = await client.delete("\(podsPath)/s-0")
        await cluster.settle()
        #expect(await images(cluster)["s-0"] == "a:1")
        _ = await client.patch("\(sets)/s", ["spec": ["updateStrategy": ["rollingUpdate": ["partition": 0]]]])
        await cluster.settle()
        #expect(await Set(images(cluster).values) == ["a:2"])
        let done = await client.get("\(sets)/s").json
        #expect(done.at("status", "currentRevision") == done.at("status", "updateRevision"))
        #expect(await cluster.objects(.controllerRevisions).count == 2)
        #expect(await cluster.unsettled == 0)
    }

    @Test("a pod of an OrderedReady set that never gets ready holds the others up")
    func orderedReady() async {
        let client = await Client(cluster)
        await cluster.run { $0.pod.name == "s-1" ? ContainerRun(readyAfter: 30) : .runs }
        _ = await client.post(sets, workload("StatefulSet", "s", replicas: 3))
        await cluster.settle()
        #expect(await cluster.objects(.pods).count == 2)
        await cluster.advance(by: 31)
        #expect(await cluster.objects(.pods).count == 3)
    }

    @Test("another image restarts the container alone, in the same pod, and its label moves it to the new revision")
    func inPlace() async throws {
        let client = await Client(cluster)
        _ = await client.post(sets, workload("StatefulSet", "s", replicas: 1, image: "a:1"))
        await cluster.settle()
        let before = await client.get("\(podsPath)/s-0").json
        _ = await client.patch(
            "\(sets)/s",
            [
                "spec": [
                    "updateStrategy": ["rollingUpdate": ["partition": 2_147_483_647]],
                    "template": ["spec": ["containers": [["name": "app", "image": "a:2"]]]],
                ]
            ], "strategic-merge-patch+json")
        await cluster.settle()
        let revision = try #require(await client.get("\(sets)/s").json.at("status", "updateRevision"))
        let patch: JSONValue = [
            ["op": "test", "path": "/metadata/uid", "value": .string(before.uid)],
            ["op": "replace", "path": "/spec/containers/0/image", "value": "a:2"],
            ["op": "replace", "path": "/metadata/labels/controller-revision-hash", "value": revision],
        ]
        #expect(await client.patch("\(podsPath)/s-0", patch, "json-patch+json").code == 200)
        await cluster.settle()
        let after = await client.get("\(podsPath)/s-0").json
        let status = try #require(after.at("status", "containerStatuses")?.array?.first)
        let old = try #require(before.at("status", "containerStatuses")?.array?.first)
        #expect(after.uid == before.uid && after.at("status", "podIP") == before.at("status", "podIP"))
        #expect(status["restartCount"] == 1 && status["containerID"] != old["containerID"])
        #expect(status.at("lastState", "terminated", "reason") == "Completed")
        #expect(await client.get("\(sets)/s").json.at("status", "updatedReplicas") == 1)
        let other = await client.patch("\(podsPath)/s-0", ["spec": ["hostNetwork": true]])
        #expect(other.code == 422)
    }

    @Test("a Deployment surges to its new ReplicaSet and comes back to the old one")
    func deployment() async {
        let client = await Client(cluster)
        let path = "/apis/apps/v1/namespaces/default/deployments"
        _ = await client.post(path, workload("Deployment", "d", replicas: 4, image: "a:1"))
        await cluster.settle()
        for image in ["a:2", "a:1"] {
            _ = await client.patch(
                "\(path)/d",
                ["spec": ["template": ["spec": ["containers": [["name": "app", "image": .string(image)]]]]]],
                "strategic-merge-patch+json")
            await cluster.settle()
            #expect(await Array(images(cluster).values) == Array(repeating: image, count: 4))
        }
        #expect(await cluster.objects(.replicaSets).count == 2)
        let status = await client.get("\(path)/d").json
        #expect(status.at("status", "updatedReplicas") == 4)
        #expect(status.annotations["deployment.kubernetes.io/revision"] == "3")
        _ = await client.delete("\(path)/d", ["propagationPolicy": "Foreground"])
        await cluster.settle()
        #expect(await cluster.objects(.pods).isEmpty)
    }

    @Test("a Job's steps run in order; what ends them can be read from the pod; its pods stay until it goes")
    func jobs() async throws {
        let client = await Client(cluster)
        let path = "/apis/batch/v1/namespaces/default/jobs"
        await cluster.run { start in
            guard start.isInit else { return .exits(0) }
            return start.pod.name.hasPrefix("oom") ? .runsOutOfMemory(after: 5) : .exits(0, after: 5, log: "built\n")
        }
        _ = await client.post(path, job("good"))
        _ = await client.post(path, job("oom"))
        await cluster.advance(by: 10)
        let good = await client.get("\(path)/good").json
        #expect(StandInCluster.condition(good, "Complete") && good.at("status", "succeeded") == 1)
        #expect(StandInCluster.condition(await client.get("\(path)/oom").json, "Failed"))
        let pods = await cluster.objects(.pods)
        let failed = try #require(pods.first { $0.name.hasPrefix("oom") })
        let ended = failed.at("status", "initContainerStatuses")?.array?.first?.at("state", "terminated")
        #expect(ended?["exitCode"] == 137 && ended?["reason"] == "OOMKilled")
        #expect(failed.at("status", "phase") == "Failed" && failed.finalizers.isEmpty)
        // The policy of batch/v1 is Orphan unless one is given.
        _ = await client.delete("\(path)/good")
        _ = await client.delete("\(path)/oom", ["propagationPolicy": "Background"])
        await cluster.settle()
        #expect(await cluster.objects(.pods).map { $0.name.hasPrefix("good") } == [true])
    }

    @Test("a Job's deadline deletes its pod, a pod's own keeps it")
    func deadlines() async throws {
        let client = await Client(cluster)
        await cluster.run { _ in .runs }
        let path = "/apis/batch/v1/namespaces/default/jobs"
        _ = await client.post(path, job("whole") { $0.set(60, "spec", "activeDeadlineSeconds") })
        _ = await client.post(path, job("pod") { $0.set(60, "spec", "template", "spec", "activeDeadlineSeconds") })
        await cluster.advance(by: 61)
        let left = await cluster.objects(.pods)
        #expect(left.map { $0.at("status", "reason") } == ["DeadlineExceeded"])
        for name in ["whole", "pod"] {
            #expect(StandInCluster.condition(await client.get("\(path)/\(name)").json, "Failed"))
        }
    }

    @Test("pulls that fail are tried again at longer intervals, pods that fit nowhere wait, both say why")
    func waiting() async throws {
        let client = await Client(cluster)
        await cluster.pull { _ in .failure(PullFailure("not found")) }
        _ = await client.post(podsPath, pod("p"))
        await cluster.settle()
        func reason() async -> String? {
            await client.get("\(podsPath)/p").json.at("status", "containerStatuses")?.array?.first?.at(
                "state", "waiting", "reason")?.string
        }
        #expect(await reason() == "ErrImagePull")
        await cluster.advance(by: 11)
        #expect(await reason() == "ImagePullBackOff")
        await cluster.pull(nil)
        await cluster.advance(by: 300)
        #expect(StandInCluster.isReady(await client.get("\(podsPath)/p").json))
        await cluster.refuse { $0.name == "q" ? "1 Insufficient memory" : nil }
        _ = await client.post(podsPath, pod("q"))
        await cluster.settle()
        let scheduled = await client.get("\(podsPath)/q").json.at("status", "conditions")?.array?.first
        #expect(scheduled?["reason"] == "Unschedulable")
        let events = await client.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=q").json
        #expect(events["items"]?.array?.first?["reason"] == "FailedScheduling")
        await cluster.refuse(nil)
        await cluster.settle()
        #expect(StandInCluster.isReady(await client.get("\(podsPath)/q").json))
    }

    @Test("a lost node's pods are deleted and stay until it is back; an evicted pod fails and stays")
    func nodes() async {
        let client = await Client(cluster)
        _ = await client.post(podsPath, pod("p"))
        _ = await client.post(podsPath, pod("evicted"))
        await cluster.settle()
        await cluster.evictFromNode(namespace: "default", pod: "evicted")
        await cluster.settle()
        let evicted = await client.get("\(podsPath)/evicted").json
        #expect(evicted.at("status", "phase") == "Failed" && evicted.at("status", "reason") == "Evicted")
        await cluster.lose(node: "node-1")
        await cluster.advance(by: 41)
        #expect(!StandInCluster.isReady(await client.get("\(podsPath)/p").json))
        await cluster.advance(by: 600)
        #expect(await client.get("\(podsPath)/p").json.isDeleting)
        await cluster.bringBack(node: "node-1")
        await cluster.settle()
        #expect(await client.get("\(podsPath)/p").code == 404)
    }

    @Test(
        "a container that crashes is restarted after longer and longer waits, and a gate keeps a pod from being ready")
    func restarts() async {
        let client = await Client(cluster)
        await cluster.run { $0.pod.name == "crash" ? .exits(3) : .runs }
        _ = await client.post(podsPath, pod("crash"))
        _ = await client.post(
            podsPath, pod("gated") { $0.set([["conditionType": "test/gate"]], "spec", "readinessGates") })
        await cluster.advance(by: 100)
        let crash = await client.get("\(podsPath)/crash").json.at("status", "containerStatuses")?.array?.first
        #expect(crash?.at("state", "waiting", "reason") == "CrashLoopBackOff")
        // At once, then after 10, 20, 40 seconds.
        #expect(crash?["restartCount"] == 5)
        #expect(!StandInCluster.isReady(await client.get("\(podsPath)/gated").json))
        let patch: JSONValue = ["status": ["conditions": [["type": "test/gate", "status": "True"]]]]
        _ = await client.patch("\(podsPath)/gated/status", patch, "strategic-merge-patch+json")
        await cluster.settle()
        #expect(StandInCluster.isReady(await client.get("\(podsPath)/gated").json))
    }

    @Test(
        "image ids come in the forms of the runtimes",
        arguments: [ImageForm.containerd, .crio, .criDockerd, .criDockerdLocal])
    func imageIDs(_ form: ImageForm) async {
        let client = await Client(cluster)
        await cluster.report(imagesAs: form)
        await cluster.pull { _ in .success(PulledImage(digest: "sha256:1", manifest: "sha256:2", config: "sha256:3")) }
        _ = await client.post(podsPath, pod("p"))
        await cluster.settle()
        let id = await client.get("\(podsPath)/p").json.at("status", "containerStatuses")?.array?.first?["imageID"]?
            .string
        let expected =
            switch form {
            case .containerd: "registry.test/app@sha256:1"
            case .crio: "registry.test/app@sha256:2"
            case .criDockerd: "docker-pullable://registry.test/app@sha256:1"
            case .criDockerdLocal: "docker://sha256:3"
            }
        #expect(id == expected)
    }
}
