import Foundation
import JSON

/// "Specifying a Disruption Budget for your Application" and "API-initiated Eviction", and the slices of Services.
extension StandInCluster {
    func reconcileBudget(_ key: ObjectKey, _ object: JSONValue) {
        guard let selector = Selector(object.at("spec", "selector")) else { return }
        let own = objects(.pods, namespace: key.namespace).filter { selector.matches($0) && !Self.isOver($0) }
        let healthy = own.filter { Self.isReady($0) && !$0.isDeleting }.count
        let wanted: Int
        if let least = object.at("spec", "minAvailable") {
            wanted = Self.share(least, of: own.count, roundsUp: true)
        } else {
            wanted = max(0, own.count - Self.share(object.at("spec", "maxUnavailable"), of: own.count, roundsUp: true))
        }
        modify(key) { object in
            object.set(object.metadata["generation"], "status", "observedGeneration")
            object.set(.integer(own.count), "status", "expectedPods")
            object.set(.integer(healthy), "status", "currentHealthy")
            object.set(.integer(wanted), "status", "desiredHealthy")
            object.set(.integer(max(0, healthy - wanted)), "status", "disruptionsAllowed")
            setCondition(
                &object, "DisruptionAllowed", healthy > wanted,
                healthy > wanted ? "SufficientPods" : "InsufficientPods")
        }
    }

    /// POST `pods/eviction`.
    /// - Throws: 429 while a budget does not allow it, 500 where several budgets select the pod.
    func evict(_ target: Target, _ options: DeleteOptions) throws(APIFailure) -> JSONValue {
        guard let pod = find(.pods, target.namespace, target.name) else { throw .notFound(.pods, target.name) }
        let key = ObjectKey(.pods, target.namespace, target.name)
        if !Self.isOver(pod) && pod.at("spec", "nodeName") != nil {
            let budgets = objects(.disruptionBudgets, namespace: target.namespace).filter {
                Selector($0.at("spec", "selector"))?.matches(pod) ?? false
            }
            guard budgets.count <= 1 else {
                throw .internalError(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
            }
            if let budget = budgets.first, Self.isReady(pod) {
                reconcileBudget(ObjectKey(.disruptionBudgets, target.namespace, budget.name), budget)
                let now = find(.disruptionBudgets, target.namespace, budget.name) ?? budget
                guard now.at("status", "disruptionsAllowed")?.int ?? 0 > 0 else {
                    var failure = APIFailure.tooManyRequests(
                        "Cannot evict pod as it would violate the pod's disruption budget.", retryAfter: nil)
                    failure.details = [
                        "causes": [
                            [
                                "reason": "DisruptionBudget",
                                "message": .string(
                                    "The disruption budget \(budget.name) needs \(now.at("status", "desiredHealthy")?.int ?? 0) healthy pods and has "
                                        + "\(now.at("status", "currentHealthy")?.int ?? 0) currently"),
                            ]
                        ]
                    ]
                    throw failure
                }
            }
        }
        if options.isDryRun { return APIFailure.success(details: nil) }
        modify(key) { pod in
            setCondition(&pod, "DisruptionTarget", true, "EvictionByEvictionAPI", "Eviction API: evicting")
        }
        _ = try delete(key, .pods, options)
        return APIFailure.success(details: nil)
    }

    /// "EndpointSlices": one slice for a Service with a selector.
    func reconcileService(_ key: ObjectKey, _ object: JSONValue) {
        guard !object.isDeleting, let labels = object.at("spec", "selector")?.strings, !labels.isEmpty else { return }
        let own = objects(.pods, namespace: key.namespace).filter { pod in
            labels.allSatisfy { pod.labels[$0.key] == $0.value } && pod.at("status", "podIP") != nil
                && !Self.isOver(pod)
        }
        let slice = ObjectKey(.endpointSlices, key.namespace, "\(key.name)-slice")
        let endpoints = own.map { pod -> JSONValue in
            [
                "addresses": [pod.at("status", "podIP") ?? ""], "nodeName": pod.at("spec", "nodeName") ?? .null,
                "conditions": [
                    "ready": .bool(Self.isReady(pod) && !pod.isDeleting), "serving": .bool(Self.isReady(pod)),
                    "terminating": .bool(pod.isDeleting),
                ],
                "targetRef": [
                    "kind": "Pod", "namespace": .string(pod.namespace), "name": .string(pod.name),
                    "uid": .string(pod.uid),
                ],
            ]
        }
        if storage.get(slice) == nil {
            store(
                slice,
                [
                    "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
                    "ports": object.at("spec", "ports") ?? [],
                    "metadata": [
                        "name": .string(slice.name), "namespace": .string(key.namespace), "uid": .string(newUID()),
                        "creationTimestamp": .string(clock.timestamp),
                        "labels": ["kubernetes.io/service-name": .string(key.name)],
                        "ownerReferences": [Self.reference(to: object)],
                    ],
                ])
        }
        modify(slice) { $0.set(.array(endpoints), "endpoints") }
    }
}
