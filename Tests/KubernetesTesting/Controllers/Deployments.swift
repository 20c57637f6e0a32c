import Foundation
import JSON

/// "Deployments", "ReplicaSet" and "DaemonSet".
extension StandInCluster {
    private static let hashLabel = "pod-template-hash"
    private static let revision = "deployment.kubernetes.io/revision"

    // MARK: Deployment

    func reconcileDeployment(_ key: ObjectKey, _ object: JSONValue) async {
        guard !object.isDeleting else { return }
        let template = object.at("spec", "template") ?? [:]
        let sets = (dependents[object.uid] ?? []).filter { $0.resource == "replicasets.apps" }.sorted()
            .compactMap { storage.get($0)?.object }
        let wanted = object.at("spec", "replicas")?.int ?? 1
        func plain(_ set: JSONValue) -> JSONValue {
            var template = set.at("spec", "template") ?? [:]
            template.set(nil, "metadata", "labels", Self.hashLabel)
            return template
        }
        let isPaused = object.at("spec", "paused")?.bool == true
        var current = sets.first { plain($0) == template }
        let highest = sets.compactMap { Int($0.annotations[Self.revision] ?? "") }.max() ?? 0
        if current == nil && !isPaused {
            current = makeReplicaSet(of: object, key, template, revision: highest + 1)
        } else if let found = current, highest > Int(found.annotations[Self.revision] ?? "") ?? 0 {
            // A template that was there before becomes the newest revision ("Rolling Back a Deployment").
            current = modify(ObjectKey(.replicaSets, key.namespace, found.name)) {
                $0.set(.string(String(highest + 1)), "metadata", "annotations", Self.revision)
            }
        }
        let old = sets.filter { $0.uid != current?.uid }
        if !isPaused, let current {
            if object.at("spec", "strategy", "type")?.string == "Recreate" {
                for set in old { scale(set, to: 0) }
                if old.allSatisfy({ pods(of: $0).isEmpty }) { scale(current, to: wanted) }
            } else {
                roll(object, wanted, from: old, to: current)
            }
            clean(object, old)
        }
        writeStatus(
            of: key, object, wanted,
            current.flatMap { storage.get(ObjectKey(.replicaSets, key.namespace, $0.name))?.object }, old)
    }

    private func makeReplicaSet(of object: JSONValue, _ key: ObjectKey, _ template: JSONValue, revision: Int)
        -> JSONValue
    {
        let hash = Self.hash(template)
        var template = template
        template.set(.string(hash), "metadata", "labels", Self.hashLabel)
        var set: JSONValue = [
            "kind": "ReplicaSet", "apiVersion": "apps/v1",
            "metadata": [
                "name": .string("\(key.name)-\(hash)"), "namespace": .string(key.namespace), "uid": .string(newUID()),
                "creationTimestamp": .string(clock.timestamp), "generation": 1,
                "labels": template.at("metadata", "labels") ?? [:],
                "annotations": ["deployment.kubernetes.io/revision": .string(String(revision))],
                "ownerReferences": [Self.reference(to: object)],
            ], "spec": ["replicas": 0, "template": template, "selector": object.at("spec", "selector") ?? [:]],
        ]
        set.set(.string(hash), "spec", "selector", "matchLabels", Self.hashLabel)
        return store(ObjectKey(.replicaSets, key.namespace, "\(key.name)-\(hash)"), set)
    }

    /// "Rolling Update Deployment": never more than `maxSurge` pods too many, nor `maxUnavailable` too few.
    private func roll(_ object: JSONValue, _ wanted: Int, from old: [JSONValue], to current: JSONValue) {
        let strategy = object.at("spec", "strategy", "rollingUpdate") ?? [:]
        let surge = Self.share(strategy["maxSurge"], of: wanted, roundsUp: true)
        var unavailable = Self.share(strategy["maxUnavailable"], of: wanted, roundsUp: false)
        if surge == 0 && unavailable == 0 { unavailable = 1 }
        func size(_ set: JSONValue) -> Int { set.at("spec", "replicas")?.int ?? 0 }
        let total = size(current) + old.reduce(0) { $0 + size($1) }
        let own = size(current)
        let target = own > wanted ? wanted : min(wanted, own + max(0, wanted + surge - total))
        scale(current, to: target)
        // Pods that are not ready go first; of the others as many as leave enough.
        let ready = pods(of: current).filter { Self.isReady($0) && !$0.isDeleting }.count
        let readyOld = old.reduce(0) { $0 + pods(of: $1).filter { Self.isReady($0) && !$0.isDeleting }.count }
        var spare = ready + readyOld - (wanted - unavailable)
        for set in old where size(set) > 0 {
            let alive = pods(of: set).filter { !$0.isDeleting }
            let broken = alive.filter { !Self.isReady($0) }.count
            let less = min(size(set), broken + max(0, min(spare, size(set) - broken)))
            spare -= max(0, less - broken)
            scale(set, to: size(set) - less)
        }
    }

    static func share(_ value: JSONValue?, of whole: Int, roundsUp: Bool) -> Int {
        if let number = value?.int { return number }
        guard let text = value?.string, text.hasSuffix("%"), let percent = Int(text.dropLast()) else { return 0 }
        return roundsUp ? (whole * percent + 99) / 100 : whole * percent / 100
    }

    private func scale(_ set: JSONValue, to replicas: Int) {
        modify(ObjectKey(.replicaSets, set.namespace, set.name)) { set in
            guard set.at("spec", "replicas")?.int != replicas else { return }
            set.set(.integer(replicas), "spec", "replicas")
            set.set(.integer((set.metadata["generation"]?.int ?? 0) + 1), "metadata", "generation")
        }
    }

    /// "Clean up Policy": old sets without pods, over the limit of the history.
    private func clean(_ object: JSONValue, _ old: [JSONValue]) {
        let limit = object.at("spec", "revisionHistoryLimit")?.int ?? 10
        let empty = old.filter { $0.at("spec", "replicas")?.int == 0 && pods(of: $0).isEmpty }
            .sorted { Int($0.annotations[Self.revision] ?? "") ?? 0 < Int($1.annotations[Self.revision] ?? "") ?? 0 }
        for set in empty.dropLast(limit) { erase(ObjectKey(.replicaSets, set.namespace, set.name)) }
    }

    private func writeStatus(
        of key: ObjectKey, _ object: JSONValue, _ wanted: Int, _ current: JSONValue?, _ old: [JSONValue]
    ) {
        let own = current.map { pods(of: $0).filter { !$0.isDeleting } } ?? []
        let all = own + old.flatMap { pods(of: $0).filter { !$0.isDeleting } }
        let ready = all.filter(Self.isReady).count
        let isDone = own.count == wanted && all.count == wanted && ready == wanted
        let least =
            wanted
            - Self.share(object.at("spec", "strategy", "rollingUpdate", "maxUnavailable"), of: wanted, roundsUp: false)
        modify(key) { object in
            let before = object.at("status", "updatedReplicas")
            object.set(object.metadata["generation"], "status", "observedGeneration")
            for (name, count) in [
                ("replicas", all.count), ("updatedReplicas", own.count), ("readyReplicas", ready),
                ("availableReplicas", ready), ("unavailableReplicas", max(0, wanted - ready)),
            ] { object.set(count == 0 ? nil : .integer(count), "status", name) }
            if let revision = current?.annotations[Self.revision] {
                object.set(.string(revision), "metadata", "annotations", Self.revision)
            }
            setCondition(
                &object, "Available", ready >= least,
                ready >= least ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
                ready >= least
                    ? "Deployment has minimum availability." : "Deployment does not have minimum availability.")
            // "Progress Deadline Seconds" counts from the last progress.
            let limit = Double(object.at("spec", "progressDeadlineSeconds")?.int ?? 600)
            let progressing = object.at("status", "conditions")?.array?.first { $0["type"]?.string == "Progressing" }
            let since = VirtualClock.date(progressing?["lastUpdateTime"]?.string) ?? clock.now
            let hasMoved = before != object.at("status", "updatedReplicas") || progressing == nil
            if isDone {
                setCondition(
                    &object, "Progressing", true, "NewReplicaSetAvailable",
                    "ReplicaSet \"\(current?.name ?? "")\" has successfully progressed.")
            } else if !hasMoved && clock.now.timeIntervalSince(since) >= limit {
                setCondition(
                    &object, "Progressing", false, "ProgressDeadlineExceeded",
                    "ReplicaSet \"\(current?.name ?? "")\" has timed out progressing.")
            } else {
                setCondition(
                    &object, "Progressing", true, "ReplicaSetUpdated",
                    "ReplicaSet \"\(current?.name ?? "")\" is progressing.")
                requeue(key, after: limit - (hasMoved ? 0 : clock.now.timeIntervalSince(since)))
            }
            var conditions = object.at("status", "conditions")?.array ?? []
            for index in conditions.indices where conditions[index]["type"]?.string == "Progressing" {
                conditions[index].setDefault(.string(clock.timestamp), "lastUpdateTime")
                if hasMoved { conditions[index].set(.string(clock.timestamp), "lastUpdateTime") }
            }
            object.set(.array(conditions), "status", "conditions")
        }
    }

    // MARK: ReplicaSet

    func reconcileReplicaSet(_ key: ObjectKey, _ object: JSONValue) async {
        guard !object.isDeleting else { return }
        adopt(for: object, key, .replicaSets)
        let all = pods(of: object)
        let alive = all.filter { !$0.isDeleting && !Self.isOver($0) }
        let wanted = object.at("spec", "replicas")?.int ?? 1
        if alive.count < wanted {
            for _ in alive.count..<wanted {
                guard await makePod(from: object.at("spec", "template"), owner: object, ownerKey: key) != nil else {
                    break
                }
            }
        } else {
            // Pods that are not ready go first ("ReplicaSet", "Scaling"), then the newest.
            let order = alive.sorted { one, other in
                let (first, second) = (Self.isReady(one), Self.isReady(other))
                if first != second { return !first }
                return one.resourceVersion > other.resourceVersion
            }
            for pod in order.prefix(alive.count - wanted) { deletePod(pod) }
        }
        let left = pods(of: object).filter { !$0.isDeleting && !Self.isOver($0) }
        let ready = left.filter(Self.isReady).count
        modify(key) { object in
            object.set(object.metadata["generation"], "status", "observedGeneration")
            object.set(.integer(left.count), "status", "replicas")
            object.set(.integer(left.count), "status", "fullyLabeledReplicas")
            for name in ["readyReplicas", "availableReplicas"] {
                object.set(ready == 0 ? nil : .integer(ready), "status", name)
            }
        }
    }

    /// Takes in pods that match and have no controller, and lets go of its own that match no more.
    private func adopt(for object: JSONValue, _ key: ObjectKey, _ type: ResourceType) {
        guard let selector = Selector(object.at("spec", "selector")) else { return }
        for pod in pods(of: object) where !selector.matches(pod) {
            modify(ObjectKey(.pods, pod.namespace, pod.name)) { pod in
                let rest = pod.ownerReferences.filter { $0["uid"]?.string != object.uid }
                pod.set(rest.isEmpty ? nil : .array(rest), "metadata", "ownerReferences")
            }
        }
    }

    // MARK: DaemonSet

    func reconcileDaemonSet(_ key: ObjectKey, _ object: JSONValue) async {
        guard !object.isDeleting else { return }
        let template = object.at("spec", "template") ?? [:]
        let revision = currentRevision(of: object, key, template)
        let all = pods(of: object)
        let isRolling = object.at("spec", "updateStrategy", "type")?.string == "RollingUpdate"
        var wanted = 0
        var budget = max(
            1,
            Self.share(
                object.at("spec", "updateStrategy", "rollingUpdate", "maxUnavailable"), of: storage.all(.nodes).count,
                roundsUp: true))
        budget -= all.filter { !Self.isReady($0) || $0.isDeleting }.count
        for node in objects(.nodes) {
            let own = all.filter { $0.at("spec", "nodeName")?.string == node.name }
            guard isSchedulable(template["spec"] ?? [:], on: node) else {
                own.forEach(deletePod)
                continue
            }
            wanted += 1
            if own.isEmpty {
                _ = await makePod(
                    from: template, owner: object, ownerKey: key,
                    labels: ["controller-revision-hash": revision.hash]
                ) { $0.set(.string(node.name), "spec", "nodeName") }
            }
            for pod in own where !pod.isDeleting {
                if Self.isOver(pod) {
                    deletePod(pod)
                } else if isRolling, pod.labels["controller-revision-hash"] != revision.hash,
                    budget > 0 || !Self.isReady(pod)
                {
                    budget -= 1
                    deletePod(pod)
                }
            }
        }
        let left = pods(of: object).filter { !$0.isDeleting }
        let ready = left.filter(Self.isReady).count
        let updated = left.filter { $0.labels["controller-revision-hash"] == revision.hash }.count
        modify(key) { object in
            object.set(object.metadata["generation"], "status", "observedGeneration")
            for (name, count) in [
                ("desiredNumberScheduled", wanted), ("currentNumberScheduled", left.count), ("numberReady", ready),
                ("numberAvailable", ready), ("updatedNumberScheduled", updated), ("numberMisscheduled", 0),
            ] { object.set(.integer(count), "status", name) }
        }
    }

    /// The ControllerRevision of a template, which is made if it is new, and made the newest if it is old.
    func currentRevision(of object: JSONValue, _ key: ObjectKey, _ template: JSONValue) -> (name: String, hash: String)
    {
        let data: JSONValue = ["spec": ["template": template.merging(["$patch": "replace"])]]
        let revisions = (dependents[object.uid] ?? []).filter { $0.resource == "controllerrevisions.apps" }.sorted()
            .compactMap { storage.get($0)?.object }
        let highest = revisions.compactMap { $0["revision"]?.int }.max() ?? 0
        if let found = revisions.first(where: { $0["data"] == data }) {
            if found["revision"]?.int != highest {
                modify(ObjectKey(.controllerRevisions, key.namespace, found.name)) {
                    $0.set(.integer(highest + 1), "revision")
                }
            }
            return (found.name, found.labels["controller-revision-hash"] ?? "")
        }
        let hash = String(Self.hash(data).prefix(10))
        let suffix = key.resource == "daemonsets.apps" ? hash : "\(key.name)-\(hash)"
        let name = "\(key.name)-\(hash)"
        var labels = object.at("spec", "selector", "matchLabels")?.strings ?? [:]
        labels["controller-revision-hash"] = suffix
        store(
            ObjectKey(.controllerRevisions, key.namespace, name),
            [
                "kind": "ControllerRevision", "apiVersion": "apps/v1", "data": data, "revision": .integer(highest + 1),
                "metadata": [
                    "name": .string(name), "namespace": .string(key.namespace), "uid": .string(newUID()),
                    "creationTimestamp": .string(clock.timestamp), "labels": .strings(labels),
                    "ownerReferences": [Self.reference(to: object)],
                ],
            ])
        return (name, suffix)
    }
}

extension JSONValue {
    fileprivate func merging(_ others: JSONValue) -> JSONValue {
        .object((object ?? [:]).merging(others.object ?? [:]) { _, new in new })
    }
}
