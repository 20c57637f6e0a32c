package import JSON
package import OCI

/// What a tag of one of this registry's images stands for now.
package struct ResolvedImage: Hashable, Sendable {
    /// Of the manifest.
    package let digest: Digest
    /// `<guid>/<sha256>`; nil if the registry did not say.
    package let droplet: String?
    /// `<stack>/<version>`; nil if the registry did not say.
    package let rootfs: String?

    package init(digest: Digest, droplet: String?, rootfs: String?) {
        (self.digest, self.droplet, self.rootfs) = (digest, droplet, rootfs)
    }
}

/// Pins a pod to digests while it is being created: the change that the admission webhook asks for.
///
/// Nothing but the references of this registry's images, annotations of Cistern's own, and one readiness gate is ever
/// touched. A pod that is pinned already is left as it is, so that the webhook may be called again for it.
package struct PodPinning: Sendable {
    package let registry: RegistryNames
    /// Whether the agent is alive, without which nobody would ever set a readiness gate.
    package let mayGate: Bool

    package init(registry: RegistryNames, mayGate: Bool) {
        (self.registry, self.mayGate) = (registry, mayGate)
    }

    /// A JSON patch (RFC 6902), and what to tell the user who made the pod.
    package struct Change: Hashable, Sendable {
        package var patch: [JSONValue] = []
        package var warnings: [String] = []
    }

    /// - Parameter resolve: what an image's tag stands for; nil if the registry has no such image. When it throws, the
    ///   image stays as it is: an app that starts unpinned is better than one that does not start.
    package func change(
        of pod: JSONValue, _ resolve: (AppImage) async throws -> ResolvedImage?
    ) async -> Change {
        var change = Change()
        var before: JSONObject = [:]
        var annotations: [(name: String, value: String)] = []
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for (index, container) in (pod["spec"]?[list]?.array ?? []).enumerated() {
                guard let reference = container["image"]?.string, let image = registry.appImage(reference),
                    image.digest == nil
                else { continue }
                let resolved: ResolvedImage
                do {
                    guard let found = try await resolve(image) else {
                        change.warnings.append("\(reference) is not pinned: the registry has no such image")
                        continue
                    }
                    resolved = found
                } catch {
                    change.warnings.append("\(reference) is not pinned: the registry could not be asked")
                    continue
                }
                change.patch.append([
                    "op": "replace", "path": .string("/spec/\(list)/\(index)/image"),
                    "value": .string("\(reference)@\(resolved.digest)"),
                ])
                before[container["name"]?.string ?? "\(list)/\(index)"] = .string(reference)
                // The first container is the app; what stands beside it comes after it.
                if list == "containers", annotations.isEmpty {
                    if let droplet = resolved.droplet { annotations.append((Contract.droplet, droplet)) }
                    if let rootfs = resolved.rootfs { annotations.append((Contract.rootfs, rootfs)) }
                }
            }
        }
        if !before.isEmpty {
            annotations.append((Contract.pinnedFrom, JSONValue.object(before).canonicalText))
            change.patch += Self.adding(annotations, to: pod)
        }
        if let gate = gate(for: pod) { change.patch.append(gate) }
        return change
    }

    private static func adding(_ annotations: [(name: String, value: String)], to pod: JSONValue) -> [JSONValue] {
        let there = pod["metadata"]?["annotations"]?.object
        let new: [JSONValue] =
            there == nil ? [["op": "add", "path": "/metadata/annotations", "value": [:]]] : []
        return new
            + annotations.map { name, value in
                // RFC 6901, section 3.
                let pointer = name.replacing("~", with: "~0").replacing("/", with: "~1")
                return ["op": "add", "path": .string("/metadata/annotations/\(pointer)"), "value": .string(value)]
            }
    }

    /// The readiness gate of a pod that is to be moved in place, which can be set at its creation alone.
    private func gate(for pod: JSONValue) -> JSONValue? {
        guard mayGate, pod["metadata"]?["annotations"]?[Contract.inPlace]?.string == "true" else { return nil }
        let own: JSONValue = ["conditionType": .string(Contract.movingGate)]
        let gates = pod["spec"]?["readinessGates"]?.array
        guard gates?.contains(own) != true else { return nil }
        return gates == nil
            ? ["op": "add", "path": "/spec/readinessGates", "value": [own]]
            : ["op": "add", "path": "/spec/readinessGates/-", "value": own]
    }
}

// MARK: - The review

/// A request of the API server to look at an object that is being created (Kubernetes, "Dynamic Admission Control",
/// `admission.k8s.io/v1`).
package struct AdmissionReview: Sendable {
    package let uid: String
    package let object: JSONValue
    package let isDryRun: Bool

    /// - Returns: nil for what is no review of a pod that is being created.
    package init?(_ json: JSONValue) {
        guard json["apiVersion"]?.string == "admission.k8s.io/v1", json["kind"]?.string == "AdmissionReview",
            let request = json["request"], let uid = request["uid"]?.string, !uid.isEmpty,
            request["operation"]?.string == "CREATE", request["kind"]?["kind"]?.string == "Pod",
            request["kind"]?["group"]?.string ?? "" == "", let object = request["object"], object.object != nil
        else { return nil }
        self.uid = uid
        self.object = object
        isDryRun = request["dryRun"]?.bool ?? false
    }

    /// The answer, which always lets the pod through.
    package func answer(_ change: PodPinning.Change) -> JSONValue {
        var response: JSONObject = ["uid": .string(uid), "allowed": true]
        if !change.patch.isEmpty {
            response["patchType"] = "JSONPatch"
            response["patch"] = .string(Base64.encode(JSONValue.array(change.patch).canonicalBytes))
        }
        if !change.warnings.isEmpty {
            // The API server cuts warnings off that are longer than 256 characters, or too many.
            response["warnings"] = .array(change.warnings.prefix(8).map { .string(String($0.prefix(250))) })
        }
        return ["apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": .object(response)]
    }
}
