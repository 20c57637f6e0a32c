import Foundation
import JSON

/// Which controllers look at an object.
extension StandInCluster {
    /// Queues what a change concerns: the object itself, its owners and what depends on it.
    func notice(_ change: Change) {
        guard runsControllers else { return }
        let object = change.new.object
        if !change.isDeletion { queue.insert(change.key) }
        for reference in object.ownerReferences {
            if let type = types.first(where: {
                $0.kind == reference["kind"]?.string && $0.groupVersion == reference["apiVersion"]?.string
            }) {
                queue.insert(ObjectKey(type, change.key.namespace, reference["name"]?.string ?? ""))
            }
        }
        if change.isDeletion { queue.formUnion(dependents[object.uid] ?? []) }
        if let space = storage.get(ObjectKey(.namespaces, "", change.key.namespace))?.object, space.isDeleting {
            queue.insert(ObjectKey(.namespaces, "", change.key.namespace))
        }
        switch change.key.resource {
        case "pods":
            noticePod(change)
            if change.isDeletion, let state = nodes.pods.removeValue(forKey: object.uid) {
                for name in state.containers.keys { closeLog(object.uid, name) }
            }
        case "nodes", "secrets", "configmaps":
            // Pods that wait for a node, or for what they mount, are tried again.
            for stored in storage.all(.pods) where stored.object.at("status", "phase")?.string == "Pending" {
                queue.insert(ObjectKey(.pods, stored.object.namespace, stored.object.name))
            }
            if change.key.resource == "nodes" {
                for stored in storage.all(.daemonSets) {
                    queue.insert(ObjectKey(.daemonSets, stored.object.namespace, stored.object.name))
                }
            }
        default: break
        }
    }

    /// A pod that no controller owns yet may be adopted, and budgets and services count it.
    private func noticePod(_ change: Change) {
        for type in [ResourceType.disruptionBudgets, .services] {
            for stored in storage.all(type) where stored.object.namespace == change.key.namespace {
                queue.insert(ObjectKey(type, change.key.namespace, stored.object.name))
            }
        }
    }

    func reconcile(_ key: ObjectKey) async {
        collectGarbage(key)
        guard let object = storage.get(key)?.object else { return }
        switch key.resource {
        case "namespaces": reconcileNamespace(key)
        case "pods": await reconcilePod(key)
        case "deployments.apps": await reconcileDeployment(key, object)
        case "replicasets.apps": await reconcileReplicaSet(key, object)
        case "statefulsets.apps": await reconcileStatefulSet(key, object)
        case "daemonsets.apps": await reconcileDaemonSet(key, object)
        case "jobs.batch": await reconcileJob(key, object)
        case "cronjobs.batch": await reconcileCronJob(key, object)
        case "poddisruptionbudgets.policy": reconcileBudget(key, object)
        case "services": reconcileService(key, object)
        case "nodes": reconcileNode(key)
        default: break
        }
    }

    // MARK: what controllers share

    /// The pods that a controller owns, by name.
    func pods(of owner: JSONValue) -> [JSONValue] {
        (dependents[owner.uid] ?? []).filter { $0.resource == "pods" }.sorted()
            .compactMap { storage.get($0)?.object }
            .filter { $0.controllerReference?["uid"]?.string == owner.uid }
    }

    static func reference(to owner: JSONValue) -> JSONValue {
        [
            "apiVersion": owner["apiVersion"] ?? "", "kind": owner["kind"] ?? "", "name": .string(owner.name),
            "uid": .string(owner.uid), "controller": true, "blockOwnerDeletion": true,
        ]
    }

    static func isReady(_ pod: JSONValue) -> Bool { condition(pod, "Ready") }

    static func condition(_ object: JSONValue, _ type: String) -> Bool {
        (object.at("status", "conditions")?.array ?? []).contains {
            $0["type"]?.string == type && $0["status"]?.string == "True"
        }
    }

    static func phase(_ pod: JSONValue) -> String { pod.at("status", "phase")?.string ?? "" }
    static func isOver(_ pod: JSONValue) -> Bool { ["Succeeded", "Failed"].contains(phase(pod)) }

    /// Makes a pod from a template, through admission like every other.
    /// - Returns: nil if it was refused; an event says why, and the owner is looked at again later.
    func makePod(
        from template: JSONValue?, owner: JSONValue, ownerKey: ObjectKey, name: String? = nil,
        labels: [String: String] = [:], finalizer: String? = nil, _ change: (inout JSONValue) -> Void = { _ in }
    ) async -> JSONValue? {
        var pod: JSONValue = ["kind": "Pod", "apiVersion": "v1", "spec": template?["spec"] ?? [:]]
        pod.set(template?.at("metadata", "labels"), "metadata", "labels")
        pod.set(template?.at("metadata", "annotations"), "metadata", "annotations")
        for (label, value) in labels { pod.set(.string(value), "metadata", "labels", label) }
        if let name {
            pod.set(.string(name), "metadata", "name")
        } else {
            pod.set(.string(owner.name + "-"), "metadata", "generateName")
        }
        pod.set([Self.reference(to: owner)], "metadata", "ownerReferences")
        if let finalizer { pod.set([.string(finalizer)], "metadata", "finalizers") }
        change(&pod)
        guard var target = Target("/api/v1/namespaces/\(ownerKey.namespace)/pods", among: types) else { return nil }
        target.name = name ?? ""
        do throws(APIFailure) {
            return try await create(
                pod, target, WriteOptions(manager: "kube-controller-manager"),
                by: .controller((owner["kind"]?.string ?? "").lowercased() + "-controller"))
        } catch {
            event(ownerKey, "Warning", "FailedCreate", "Error creating: \(error.message)")
            requeue(ownerKey, after: 10)
            return nil
        }
    }

    func deletePod(_ pod: JSONValue) {
        var options = DeleteOptions()
        options.uid = pod.uid
        _ = try? delete(ObjectKey(.pods, pod.namespace, pod.name), .pods, options)
    }

    /// Writes an Event, or counts up the same one ("Event" in the API reference).
    func event(_ key: ObjectKey, _ kind: String, _ reason: String, _ message: String) {
        guard let object = storage.get(key)?.object else { return }
        let space = key.namespace.isEmpty ? "default" : key.namespace
        guard find(.namespaces, "", space).map({ !$0.isDeleting }) ?? false else { return }
        for stored in storage.all(.events) where stored.object.namespace == space {
            let event = stored.object
            guard event["reason"]?.string == reason, event["message"]?.string == message,
                event.at("involvedObject", "uid")?.string == object.uid
            else { continue }
            modify(ObjectKey(.events, space, event.name)) { event in
                event.set(.integer((event["count"]?.int ?? 1) + 1), "count")
                event.set(.string(clock.timestamp), "lastTimestamp")
            }
            return
        }
        let name = "\(key.name).\(String(count(), radix: 16))"
        store(
            ObjectKey(.events, space, name),
            [
                "kind": "Event", "apiVersion": "v1", "type": .string(kind), "reason": .string(reason),
                "message": .string(message), "count": 1, "firstTimestamp": .string(clock.timestamp),
                "lastTimestamp": .string(clock.timestamp), "source": ["component": "stand-in"],
                "reportingComponent": "stand-in",
                "metadata": [
                    "name": .string(name), "namespace": .string(space), "uid": .string(newUID()),
                    "creationTimestamp": .string(clock.timestamp),
                ],
                "involvedObject": [
                    "kind": object["kind"] ?? "", "apiVersion": object["apiVersion"] ?? "",
                    "namespace": .string(key.namespace), "name": .string(key.name), "uid": .string(object.uid),
                    "resourceVersion": .string(object.resourceVersion),
                ],
            ])
    }

    /// FNV-1a of a template, in the letters of pods' suffixes: what hash labels are made of.
    static func hash(_ value: JSONValue) -> String {
        var hash: UInt32 = 2_166_136_261
        for byte in value.canonicalBytes { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        let letters = Array("bcdfghjklmnpqrstvwxz2456789")
        return String(String(hash).map { letters[(Int($0.asciiValue ?? 48) - 48) % letters.count] })
    }
}
