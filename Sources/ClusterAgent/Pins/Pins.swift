package import JSON
package import OCI

/// What keeps droplets and rootfs versions from being retired: images that run in a cluster, or could start again.
package struct Pins: Hashable, Sendable {
    /// Of manifests and configs.
    package private(set) var digests: Set<Digest> = []
    /// `GUID:TAG`
    package private(set) var tags: Set<String> = []

    package init() {}

    package var isEmpty: Bool { digests.isEmpty && tags.isEmpty }

    package mutating func formUnion(_ other: Pins) {
        digests.formUnion(other.digests)
        tags.formUnion(other.tags)
    }

    /// A digest says what is meant; a tag counts only where there is none.
    mutating func insert(_ image: AppImage) {
        if let digest = image.digest {
            digests.insert(digest)
        } else if let tag = image.tag {
            tags.insert("\(image.guid):\(tag)")
        }
    }
}

extension Pins {
    /// What an object of a cluster runs or could start.
    ///
    /// Templates of workloads without pods count too: a stopped app's StatefulSet names the image that it starts with
    /// again. So do ReplicaSets and ControllerRevisions, which a rollback goes back to.
    /// - Parameter object: a Pod; a StatefulSet, Deployment, DaemonSet, ReplicaSet or Job; a CronJob; a
    ///   ControllerRevision; a Knative Service, Configuration or Revision. Anything else pins nothing.
    package init(of object: JSONValue, in registry: RegistryNames) {
        switch object["kind"]?.string {
        case "Pod": add(pod: object, registry)
        case "StatefulSet", "Deployment", "DaemonSet", "ReplicaSet", "Job", "Service", "Configuration":
            add(spec: object["spec"]?["template"]?["spec"], registry)
        case "CronJob": add(spec: object["spec"]?["jobTemplate"]?["spec"]?["template"]?["spec"], registry)
        // What StatefulSets and DaemonSets keep in it is a patch of themselves.
        case "ControllerRevision": add(spec: object["data"]?["spec"]?["template"]?["spec"], registry)
        case "Revision":
            add(spec: object["spec"], registry)
            for status in object["status"]?["containerStatuses"]?.array ?? [] {
                add(reference: status["imageDigest"], registry)
            }
        default: break
        }
    }

    private mutating func add(reference: JSONValue?, _ registry: RegistryNames) {
        if let image = reference?.string.flatMap(registry.appImage) { insert(image) }
    }

    private static let containerLists = ["containers", "initContainers", "ephemeralContainers"]

    private mutating func add(spec: JSONValue?, _ registry: RegistryNames) {
        guard let spec else { return }
        for list in Self.containerLists {
            for container in spec[list]?.array ?? [] { add(reference: container["image"], registry) }
        }
        // Image volumes (Kubernetes, "Volumes").
        for volume in spec["volumes"]?.array ?? [] { add(reference: volume["image"]?["reference"], registry) }
    }

    private mutating func add(pod: JSONValue, _ registry: RegistryNames) {
        add(spec: pod["spec"], registry)
        // What an unpinned container really runs: its tag may mean something else by now.
        var ours: Set<String> = []
        for list in Self.containerLists {
            for container in pod["spec"]?[list]?.array ?? [] {
                if let name = container["name"]?.string, container["image"]?.string.flatMap(registry.appImage) != nil {
                    ours.insert(name)
                }
            }
        }
        guard !ours.isEmpty else { return }
        for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
            for status in pod["status"]?[list]?.array ?? [] {
                guard let name = status["name"]?.string, ours.contains(name),
                    let running = status["imageID"]?.string.flatMap(RunningImage.init)
                else { continue }
                digests.insert(running.digest)
            }
        }
    }

    /// Whether a pod runs an image of this registry by a tag alone, so that nobody can say which one it would start
    /// with next.
    package static func isUnpinned(pod: JSONValue, in registry: RegistryNames) -> Bool {
        containerLists.contains { list in
            (pod["spec"]?[list]?.array ?? []).contains { container in
                guard let image = container["image"]?.string.flatMap(registry.appImage) else { return false }
                return image.digest == nil
            }
        }
    }
}
