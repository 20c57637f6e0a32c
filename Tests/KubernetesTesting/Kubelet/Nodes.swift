import Foundation
public import JSON

/// The nodes, what runs on them, and how a test wants them to behave.
struct NodeState {
    var pods: [String: PodState] = [:]
    /// Since when a node is not heard of.
    var lost: [String: Date] = [:]
    var program: (@Sendable (ContainerStart) async -> ContainerRun)?
    var puller: (@Sendable (ImagePull) async -> PullResult)?
    var imageForm = ImageForm.containerd
    /// What a node has already: image strings by node, with their ids.
    var images: [String: [String: String]] = [:]
    var pulls: [String] = []
    var exec: (@Sendable (ExecRequest, ExecStreams) async -> Int)?
    var refuses: (@Sendable (JSONValue) -> String?)?
    var turn = 0
    /// Who follows a container's log, by `uid/container`.
    var followers: [String: [Int: AsyncStream<[UInt8]>.Continuation]] = [:]
}

extension StandInCluster {
    /// Says what containers do; nil for what ends at once where it may, and runs for ever where it may not.
    public func run(_ program: (@Sendable (ContainerStart) async -> ContainerRun)?) { nodes.program = program }
    /// Says how images are pulled; nil for nodes that have every image.
    public func pull(_ puller: (@Sendable (ImagePull) async -> PullResult)?) { nodes.puller = puller }
    public func report(imagesAs form: ImageForm) { nodes.imageForm = form }
    /// Says which pods no node takes, and why; nil for a pod that may go anywhere.
    public func refuse(_ reason: (@Sendable (JSONValue) -> String?)?) {
        nodes.refuses = reason
        for stored in storage.all(.pods) where stored.object.at("spec", "nodeName") == nil {
            queue.insert(ObjectKey(.pods, stored.object.namespace, stored.object.name))
        }
        kick()
    }
    /// Says what `exec` runs; it returns the exit code.
    public func exec(_ handler: (@Sendable (ExecRequest, ExecStreams) async -> Int)?) { nodes.exec = handler }
    /// The image strings that were pulled, in their order.
    public var pulledImages: [String] { nodes.pulls }

    public func addNode(_ name: String) {
        store(
            ObjectKey(.nodes, "", name),
            [
                "kind": "Node", "apiVersion": "v1", "spec": [:],
                "metadata": [
                    "name": .string(name), "uid": .string(newUID()), "creationTimestamp": .string(clock.timestamp),
                    "labels": [
                        "kubernetes.io/hostname": .string(name), "kubernetes.io/os": "linux",
                        "kubernetes.io/arch": "amd64",
                    ],
                ],
                "status": [
                    "conditions": [
                        [
                            "type": "Ready", "status": "True", "reason": "KubeletReady",
                            "lastTransitionTime": .string(clock.timestamp),
                        ]
                    ], "allocatable": ["cpu": "64", "memory": "256Gi", "pods": "10000"],
                    "nodeInfo": [
                        "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.36.2",
                        "containerRuntimeVersion": .string("\(nodes.imageForm.runtime)://2.0"),
                    ],
                ],
            ])
        kick()
    }

    // MARK: the scheduler ("Kubernetes Scheduler")

    func schedule(_ key: ObjectKey, _ pod: JSONValue) {
        guard !pod.isDeleting else {
            if pod.finalizers.isEmpty { erase(key) }
            return
        }
        if let gates = pod.at("spec", "schedulingGates")?.array, !gates.isEmpty {
            modify(key) {
                setCondition(
                    &$0, "PodScheduled", false, "SchedulingGated",
                    "Scheduling is blocked due to non-empty scheduling gates")
            }
            return
        }
        let all = objects(.nodes)
        let fitting = all.filter { isSchedulable(pod["spec"] ?? [:], on: $0) }
        let refusal = nodes.refuses?(pod)
        guard !fitting.isEmpty, refusal == nil else {
            let message =
                "0/\(all.count) nodes are available: \(refusal ?? "\(all.count) node(s) didn't match Pod's node affinity/selector or were unschedulable")."
            modify(key) { setCondition(&$0, "PodScheduled", false, "Unschedulable", message) }
            event(key, "Warning", "FailedScheduling", message)
            return
        }
        nodes.turn += 1
        bind(key, to: fitting[nodes.turn % fitting.count].name)
    }

    func bind(_ key: ObjectKey, to node: String) {
        modify(key) { pod in
            pod.set(.string(node), "spec", "nodeName")
            setCondition(&pod, "PodScheduled", true)
        }
        event(key, "Normal", "Scheduled", "Successfully assigned \(key.path) to \(node)")
    }

    /// Node selectors, cordons, taints and readiness ("Assigning Pods to Nodes", "Taints and Tolerations").
    func isSchedulable(_ spec: JSONValue, on node: JSONValue) -> Bool {
        let selector = spec["nodeSelector"]?.strings ?? [:]
        guard selector.allSatisfy({ node.labels[$0.key] == $0.value }), node.at("spec", "unschedulable")?.bool != true,
            Self.condition(node, "Ready")
        else { return false }
        return (node.at("spec", "taints")?.array ?? []).allSatisfy { taint in
            taint["effect"]?.string == "PreferNoSchedule"
                || (spec["tolerations"]?.array ?? []).contains { toleration in
                    let effect = toleration["effect"]?.string
                    let key = toleration["key"]?.string
                    return (effect == nil || effect == taint["effect"]?.string)
                        && (key == nil || key == taint["key"]?.string)
                        && (toleration["operator"]?.string == "Exists" || toleration["value"] == taint["value"])
                }
        }
    }

    // MARK: trouble

    /// A node is heard of no more: after 40 s it is not ready, after 300 s more its pods are deleted, and stay until it
    /// is back ("Nodes", "Heartbeats"; "Taints and Tolerations", "Taint based Evictions").
    public func lose(node: String) {
        nodes.lost[node] = clock.now
        requeue(ObjectKey(.nodes, "", node), after: 40)
    }

    public func bringBack(node: String) {
        nodes.lost[node] = nil
        modify(ObjectKey(.nodes, "", node)) { node in
            setCondition(&node, "Ready", true, "KubeletReady")
            let taints = (node.at("spec", "taints")?.array ?? []).filter {
                $0["key"]?.string != "node.kubernetes.io/unreachable"
            }
            node.set(taints.isEmpty ? nil : .array(taints), "spec", "taints")
        }
        for stored in storage.all(.pods) where stored.object.at("spec", "nodeName")?.string == node {
            queue.insert(ObjectKey(.pods, stored.object.namespace, stored.object.name))
        }
        kick()
    }

    func reconcileNode(_ key: ObjectKey) {
        guard let since = nodes.lost[key.name] else { return }
        let own = objects(.pods).filter { $0.at("spec", "nodeName")?.string == key.name }
        let passed = clock.now.timeIntervalSince(since)
        if passed < 40 { return requeue(key, after: 40 - passed) }
        modify(key) { node in
            var conditions = node.at("status", "conditions")?.array ?? []
            for index in conditions.indices where conditions[index]["type"]?.string == "Ready" {
                guard conditions[index]["status"]?.string != "Unknown" else { continue }
                conditions[index] = [
                    "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.", "lastTransitionTime": .string(clock.timestamp),
                ]
            }
            node.set(.array(conditions), "status", "conditions")
            node.set([["key": "node.kubernetes.io/unreachable", "effect": "NoExecute"]], "spec", "taints")
        }
        for pod in own where !Self.isOver(pod) {
            modify(ObjectKey(.pods, pod.namespace, pod.name)) { setCondition(&$0, "Ready", false, "NodeNotReady") }
        }
        guard passed >= 340 else { return requeue(key, after: 340 - passed) }
        for pod in own where !pod.isDeleting {
            modify(ObjectKey(.pods, pod.namespace, pod.name)) {
                setCondition(
                    &$0, "DisruptionTarget", true, "DeletionByTaintManager",
                    "Taint manager: deleting due to NoExecute taint")
            }
            deletePod(pod)
        }
    }

    /// A container runs out of memory now.
    public func runOutOfMemory(namespace: String, pod: String, container: String) {
        change(namespace, pod) { state, now in
            state.containers[container]?.end(code: 137, reason: "OOMKilled", at: now)
        }
    }

    /// The node evicts a pod ("Node-pressure Eviction"): it fails, and stays as it is.
    public func evictFromNode(
        namespace: String, pod: String, message: String = "The node was low on resource: ephemeral-storage."
    ) {
        change(namespace, pod) { state, _ in state.end = ("Evicted", message) }
    }

    private func change(_ namespace: String, _ name: String, _ change: (inout PodState, Date) -> Void) {
        guard let pod = find(.pods, namespace, name), var state = nodes.pods[pod.uid] else { return }
        change(&state, clock.now)
        nodes.pods[pod.uid] = state
        queue.insert(ObjectKey(.pods, namespace, name))
        kick()
    }
}
