import Foundation
import JSON

/// "StatefulSets".
extension StandInCluster {
    private static let hashLabel = "controller-revision-hash"

    func reconcileStatefulSet(_ key: ObjectKey, _ object: JSONValue) async {
        guard !object.isDeleting else { return }
        let template = object.at("spec", "template") ?? [:]
        let update = currentRevision(of: object, key, template)
        // Until all pods are updated, `currentRevision` is what the others have.
        let current = object.at("status", "currentRevision")?.string ?? update.hash
        let wanted = object.at("spec", "replicas")?.int ?? 1
        let start = object.at("spec", "ordinals", "start")?.int ?? 0
        let isParallel = object.at("spec", "podManagementPolicy")?.string == "Parallel"
        let rolls = object.at("spec", "updateStrategy", "type")?.string == "RollingUpdate"
        let partition = object.at("spec", "updateStrategy", "rollingUpdate", "partition")?.int ?? 0
        var byOrdinal: [Int: JSONValue] = [:]
        for pod in pods(of: object) { byOrdinal[Self.ordinal(of: pod, key.name)] = pod }

        let range = start..<(start + wanted)
        await scaleUp(key, object, range, byOrdinal, isParallel: isParallel) { ordinal in
            // "Partitioned rolling updates": below the partition pods come back on the current revision.
            let isOld = !rolls || ordinal < start + partition
            return isOld && current != update.hash
                ? self.template(of: object, key, hash: current) ?? (template, update.hash) : (template, update.hash)
        }
        // Only when all in range run is anything taken away ("Deployment and Scaling Guarantees").
        let own = Dictionary(uniqueKeysWithValues: pods(of: object).map { (Self.ordinal(of: $0, key.name), $0) })
        let isWhole = range.allSatisfy { own[$0].map { Self.isReady($0) && !$0.isDeleting } ?? false }
        let surplus = own.filter { !range.contains($0.key) }.sorted { $0.key > $1.key }
        for (_, pod) in surplus where isParallel || isWhole || surplus.count == own.count {
            if !pod.isDeleting { deletePod(pod) }
            // One at a time, and only once the one before is gone.
            if !isParallel { break }
        }
        if rolls && surplus.isEmpty {
            for ordinal in range.reversed() where ordinal >= start + partition {
                guard let pod = own[ordinal] else { break }
                if pod.labels[Self.hashLabel] != update.hash && !pod.isDeleting {
                    deletePod(pod)
                    break
                }
                // An updated pod must be ready before the next is touched.
                if pod.isDeleting || !Self.isReady(pod) { break }
            }
        }
        writeStatus(key, update: update.hash, current: current, range, partition: partition, rolls: rolls)
    }

    private func scaleUp(
        _ key: ObjectKey, _ object: JSONValue, _ range: Range<Int>, _ own: [Int: JSONValue], isParallel: Bool,
        _ template: (Int) -> (JSONValue, String)
    ) async {
        for ordinal in range {
            if let pod = own[ordinal] {
                // A pod that ended is replaced: its restartPolicy can only be Always, so its node ended it.
                if Self.isOver(pod) && !pod.isDeleting { deletePod(pod) }
                if !isParallel && (pod.isDeleting || !Self.isReady(pod)) { return }
                continue
            }
            let (template, hash) = template(ordinal)
            let name = "\(key.name)-\(ordinal)"
            guard storage.get(ObjectKey(.pods, key.namespace, name)) == nil else { return }
            _ = await makePod(
                from: template, owner: object, ownerKey: key, name: name,
                labels: [
                    Self.hashLabel: hash, "statefulset.kubernetes.io/pod-name": name,
                    "apps.kubernetes.io/pod-index": String(ordinal),
                ]
            ) { pod in
                pod.set(.string(name), "spec", "hostname")
                pod.set(object.at("spec", "serviceName"), "spec", "subdomain")
                // "Stable Storage": each pod has its own claim.
                for claim in object.at("spec", "volumeClaimTemplates")?.array ?? [] {
                    let volumes = pod.at("spec", "volumes")?.array ?? []
                    let volume: JSONValue = [
                        "name": .string(claim.name),
                        "persistentVolumeClaim": ["claimName": .string("\(claim.name)-\(name)")],
                    ]
                    pod.set(.array(volumes + [volume]), "spec", "volumes")
                }
            }
            if !isParallel { return }
        }
    }

    /// The template of a past revision.
    private func template(of object: JSONValue, _ key: ObjectKey, hash: String) -> (JSONValue, String)? {
        for child in dependents[object.uid] ?? [] where child.resource == "controllerrevisions.apps" {
            guard let revision = storage.get(child)?.object, revision.labels[Self.hashLabel] == hash,
                var template = revision.at("data", "spec", "template")
            else { continue }
            template.set(nil, "$patch")
            return (template, hash)
        }
        return nil
    }

    private func writeStatus(
        _ key: ObjectKey, update: String, current: String, _ range: Range<Int>, partition: Int, rolls: Bool
    ) {
        guard let object = storage.get(key)?.object else { return }
        let left = pods(of: object).filter { !$0.isDeleting }
        let updated = left.filter { $0.labels[Self.hashLabel] == update }
        let ready = left.filter(Self.isReady)
        modify(key) { object in
            // "completeRollingUpdate": the update is the current one once all pods have it and are ready.
            let isComplete =
                rolls && partition == 0 && updated.count == range.count && left.count == range.count
                && updated.allSatisfy(Self.isReady)
            let now = isComplete ? update : current
            object.set(object.metadata["generation"], "status", "observedGeneration")
            object.set(.string(now), "status", "currentRevision")
            object.set(.string(update), "status", "updateRevision")
            object.set(.integer(left.count), "status", "replicas")
            object.set(.integer(ready.count), "status", "readyReplicas")
            object.set(.integer(ready.count), "status", "availableReplicas")
            object.set(.integer(updated.count), "status", "updatedReplicas")
            let old = left.filter { $0.labels[Self.hashLabel] == now }.count
            object.set(.integer(old), "status", "currentReplicas")
            object.setDefault(0, "status", "collisionCount")
        }
    }

    private static func ordinal(of pod: JSONValue, _ set: String) -> Int {
        Int(pod.name.dropFirst(set.count + 1)) ?? -1
    }
}
