import JSON

/// What the API server adds to objects and refuses in them, as far as our programs could stumble over it.
enum Validation {
    /// Defaults, as the API reference names them for each field.
    static func setDefaults(_ object: inout JSONValue, _ type: ResourceType) {
        switch type.plural {
        case "pods": setPodDefaults(&object, path: ["spec"], restartPolicy: "Always")
        case "deployments", "statefulsets", "replicasets", "daemonsets":
            setPodDefaults(&object, path: ["spec", "template", "spec"], restartPolicy: "Always")
            object.setDefault(10, "spec", "revisionHistoryLimit")
            if type.plural != "daemonsets" { object.setDefault(1, "spec", "replicas") }
            if type.plural == "deployments" {
                object.setDefault("RollingUpdate", "spec", "strategy", "type")
                if object.at("spec", "strategy", "type") == "RollingUpdate" {
                    object.setDefault("25%", "spec", "strategy", "rollingUpdate", "maxSurge")
                    object.setDefault("25%", "spec", "strategy", "rollingUpdate", "maxUnavailable")
                }
                object.setDefault(600, "spec", "progressDeadlineSeconds")
            } else if type.plural == "statefulsets" {
                object.setDefault("OrderedReady", "spec", "podManagementPolicy")
                object.setDefault("RollingUpdate", "spec", "updateStrategy", "type")
                if object.at("spec", "updateStrategy", "type") == "RollingUpdate" {
                    object.setDefault(0, "spec", "updateStrategy", "rollingUpdate", "partition")
                }
            } else if type.plural == "daemonsets" {
                object.setDefault("RollingUpdate", "spec", "updateStrategy", "type")
                if object.at("spec", "updateStrategy", "type") == "RollingUpdate" {
                    object.setDefault(1, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable")
                    object.setDefault(0, "spec", "updateStrategy", "rollingUpdate", "maxSurge")
                }
            }
        case "jobs":
            setPodDefaults(&object, path: ["spec", "template", "spec"], restartPolicy: "Always")
            object.setDefault(6, "spec", "backoffLimit")
            object.setDefault("NonIndexed", "spec", "completionMode")
            object.setDefault(false, "spec", "suspend")
            object.setDefault("TerminatingOrFailed", "spec", "podReplacementPolicy")
            if object.at("spec", "completions") == nil && object.at("spec", "parallelism") == nil {
                object.setDefault(1, "spec", "completions")
            }
            object.setDefault(1, "spec", "parallelism")
        case "cronjobs":
            setPodDefaults(
                &object, path: ["spec", "jobTemplate", "spec", "template", "spec"], restartPolicy: "Always")
            object.setDefault("Allow", "spec", "concurrencyPolicy")
            object.setDefault(false, "spec", "suspend")
            object.setDefault(3, "spec", "successfulJobsHistoryLimit")
            object.setDefault(1, "spec", "failedJobsHistoryLimit")
        case "secrets":
            object.setDefault("Opaque", "type")
            if let texts = object["stringData"]?.strings {
                for (name, text) in texts { object.set(.string(Self.base64(text)), "data", name) }
                object.set(nil, "stringData")
            }
        case "mutatingwebhookconfigurations":
            let webhooks = (object["webhooks"]?.array ?? []).map { webhook -> JSONValue in
                var webhook = webhook
                webhook.setDefault("Fail", "failurePolicy")
                webhook.setDefault("Equivalent", "matchPolicy")
                webhook.setDefault(10, "timeoutSeconds")
                webhook.setDefault("Never", "reinvocationPolicy")
                webhook.setDefault([:], "namespaceSelector")
                webhook.setDefault([:], "objectSelector")
                return webhook
            }
            if !webhooks.isEmpty { object.set(.array(webhooks), "webhooks") }
        case "namespaces":
            object.setDefault(["kubernetes"], "spec", "finalizers")
            object.setDefault("Active", "status", "phase")
            object.set(.string(object.name), "metadata", "labels", "kubernetes.io/metadata.name")
        default: break
        }
    }

    private static func base64(_ text: String) -> String { Base64.encode(Array(text.utf8)) }

    private static func setPodDefaults(_ object: inout JSONValue, path: [String], restartPolicy: String) {
        guard var spec = object.at(path) else { return }
        spec.setDefault(.string(restartPolicy), "restartPolicy")
        spec.setDefault("ClusterFirst", "dnsPolicy")
        spec.setDefault(30, "terminationGracePeriodSeconds")
        spec.setDefault([:], "securityContext")
        spec.setDefault("default-scheduler", "schedulerName")
        for list in ["containers", "initContainers"] {
            guard let containers = spec[list]?.array else { continue }
            spec.set(
                .array(
                    containers.map { container in
                        var container = container
                        let image = container["image"]?.string ?? ""
                        let tag = image.split(separator: "/").last?.split(separator: ":").dropFirst().first
                        // "Images", "Image pull policy": Always for :latest and for no tag, unless there is a digest.
                        let isLatest = !image.contains("@") && (tag == nil || tag == "latest")
                        container.setDefault(.string(isLatest ? "Always" : "IfNotPresent"), "imagePullPolicy")
                        container.setDefault("/dev/termination-log", "terminationMessagePath")
                        container.setDefault("File", "terminationMessagePolicy")
                        container.setDefault([:], "resources")
                        if let ports = container["ports"]?.array {
                            let filled = ports.map { port -> JSONValue in
                                var port = port
                                port.setDefault("TCP", "protocol")
                                return port
                            }
                            container.set(.array(filled), "ports")
                        }
                        return container
                    }), list)
        }
        object.set(spec, at: path[...])
    }

    /// - Throws: 422 for what a field must not be.
    static func check(_ object: JSONValue, _ type: ResourceType) throws(APIFailure) {
        var causes: [(field: String, message: String)] = []
        let name = object.name
        if !isSubdomain(name) && !type.group.hasPrefix("rbac") {
            causes.append(
                (
                    "metadata.name",
                    "Invalid value: \"\(name)\": a lowercase RFC 1123 subdomain must consist of lower case "
                        + "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
                ))
        }
        for (label, value) in object.labels where value.utf8.count > 63 {
            causes.append(("metadata.labels", "Invalid value: \"\(label)\": must be no more than 63 bytes"))
        }
        if object.annotations.reduce(0, { $0 + $1.key.utf8.count + $1.value.utf8.count }) > 256 << 10 {
            causes.append(("metadata.annotations", "Too long: may not be more than 262144 bytes"))
        }
        func checkPod(_ spec: JSONValue?, _ field: String) {
            let containers = spec?["containers"]?.array ?? []
            if containers.isEmpty { causes.append(("\(field).containers", "Required value")) }
            var names: Set<String> = []
            for (list, containers) in [
                ("initContainers", spec?["initContainers"]?.array ?? []), ("containers", containers),
            ] {
                for (index, container) in containers.enumerated() {
                    let name = container["name"]?.string ?? ""
                    if name.isEmpty { causes.append(("\(field).\(list)[\(index)].name", "Required value")) }
                    if !names.insert(name).inserted {
                        causes.append(("\(field).\(list)[\(index)].name", "Duplicate value: \"\(name)\""))
                    }
                    let image = container["image"]?.string ?? ""
                    // Only templates' images may be missing ("allow higher level config management to default").
                    if image.isEmpty && field == "spec" {
                        causes.append(("\(field).\(list)[\(index)].image", "Required value"))
                    }
                    if image.first?.isWhitespace ?? false || image.last?.isWhitespace ?? false {
                        causes.append(
                            (
                                "\(field).\(list)[\(index)].image",
                                "Invalid value: \"\(image)\": must not have leading or trailing whitespace"
                            ))
                    }
                }
            }
        }
        switch type.plural {
        case "pods": checkPod(object["spec"], "spec")
        case "deployments", "statefulsets", "replicasets", "daemonsets":
            checkPod(object.at("spec", "template", "spec"), "spec.template.spec")
            let labels = object.at("spec", "template", "metadata", "labels")?.strings ?? [:]
            if let selector = Selector(object.at("spec", "selector")) {
                if !selector.matches(labels: labels) {
                    causes.append(
                        (
                            "spec.template.metadata.labels",
                            "Invalid value: \(JSONValue.strings(labels).canonicalText): `selector` does not match "
                                + "template `labels`"
                        ))
                }
            } else {
                causes.append(("spec.selector", "Required value"))
            }
            let policy = object.at("spec", "template", "spec", "restartPolicy")?.string ?? ""
            if policy != "Always" {
                causes.append(
                    (
                        "spec.template.spec.restartPolicy",
                        "Unsupported value: \"\(policy)\": supported values: \"Always\""
                    ))
            }
        case "jobs":
            checkPod(object.at("spec", "template", "spec"), "spec.template.spec")
            let policy = object.at("spec", "template", "spec", "restartPolicy")?.string ?? ""
            if !["Never", "OnFailure"].contains(policy) {
                causes.append(
                    (
                        "spec.template.spec.restartPolicy",
                        "Required value: valid values: \"OnFailure\", \"Never\""
                    ))
            }
            if object.at("spec", "podFailurePolicy") != nil && policy != "Never" {
                causes.append(
                    ("spec.template.spec.restartPolicy", "Invalid value: only \"Never\" is supported with a policy"))
            }
        default: break
        }
        if !causes.isEmpty { throw .invalid(type, name, causes) }
    }

    /// What must not change ("immutable" in the API reference).
    /// - Throws: 422.
    static func checkUpdate(from old: JSONValue, to new: JSONValue, _ type: ResourceType) throws(APIFailure) {
        var causes: [(field: String, message: String)] = []
        if old.isDeleting, !Set(new.finalizers).isSubset(of: old.finalizers) {
            causes.append(
                (
                    "metadata.finalizers",
                    "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
                        + "\(Set(new.finalizers).subtracting(old.finalizers).sorted())"
                ))
        }
        func same(_ ignoring: [String]) -> Bool {
            var (one, other) = (old["spec"] ?? [:], new["spec"] ?? [:])
            for name in ignoring {
                one.set(nil, name)
                other.set(nil, name)
            }
            return one == other
        }
        switch type.plural {
        case "pods":
            func stripped(_ object: JSONValue) -> JSONValue {
                var spec = object["spec"] ?? [:]
                for name in [
                    "activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates",
                ] { spec.set(nil, name) }
                for list in ["containers", "initContainers"] {
                    guard let containers = spec[list]?.array else { continue }
                    spec.set(
                        .array(
                            containers.map {
                                var container = $0
                                container.set(nil, "image")
                                return container
                            }), list)
                }
                return spec
            }
            if stripped(old) != stripped(new) {
                causes.append(
                    (
                        "spec",
                        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
                            + "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
                            + "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be "
                            + "set to 1 if it was previously negative)"
                    ))
            }
        case "statefulsets":
            if !same([
                "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
            ]) {
                causes.append(
                    (
                        "spec",
                        "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', "
                            + "'template', 'updateStrategy', 'revisionHistoryLimit', "
                            + "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
                    ))
            }
        case "deployments", "replicasets", "daemonsets":
            if old.at("spec", "selector") != new.at("spec", "selector") {
                causes.append(("spec.selector", "Invalid value: field is immutable"))
            }
        case "jobs":
            for field in ["template", "selector", "completionMode", "podFailurePolicy"]
            where old.at("spec", field) != new.at("spec", field) {
                causes.append(("spec.\(field)", "Invalid value: field is immutable"))
            }
        case "controllerrevisions":
            if old["data"] != new["data"] { causes.append(("data", "Invalid value: field is immutable")) }
        case "secrets", "configmaps":
            if type.plural == "secrets", old["type"] != new["type"] {
                causes.append(("type", "Invalid value: field is immutable"))
            }
            if old["immutable"]?.bool == true, old["data"] != new["data"] || new["immutable"]?.bool != true {
                causes.append(("data", "Forbidden: field is immutable when `immutable` is set"))
            }
        case "rolebindings", "clusterrolebindings":
            if old["roleRef"] != new["roleRef"] {
                causes.append(("roleRef", "Invalid value: cannot change roleRef"))
            }
        default: break
        }
        if !causes.isEmpty { throw .invalid(type, new.name, causes) }
    }

    /// Field validation ("Field validation" in API concepts), of the outermost names alone.
    static func unknownFields(_ object: JSONValue, _ type: ResourceType) -> [String] {
        let common: Set<String> = ["apiVersion", "kind", "metadata", "spec", "status"]
        let own: Set<String> =
            switch type.plural {
            case "secrets": ["data", "stringData", "type", "immutable"]
            case "configmaps": ["data", "binaryData", "immutable"]
            case "roles", "clusterroles": ["rules", "aggregationRule"]
            case "rolebindings", "clusterrolebindings": ["subjects", "roleRef"]
            case "serviceaccounts": ["secrets", "imagePullSecrets", "automountServiceAccountToken"]
            case "mutatingwebhookconfigurations", "validatingwebhookconfigurations": ["webhooks"]
            case "pods", "deployments", "statefulsets", "jobs", "cronjobs", "daemonsets", "replicasets", "services",
                "leases", "networkpolicies", "poddisruptionbudgets", "namespaces", "nodes":
                []
            default: Set(object.object.map { Array($0.keys) } ?? [])
            }
        return (object.object.map { Array($0.keys) } ?? []).filter { !common.contains($0) && !own.contains($0) }
            .sorted()
    }

    /// RFC 1123, as "Object Names and IDs" has it.
    static func isSubdomain(_ name: String) -> Bool {
        guard (1...253).contains(name.utf8.count) else { return false }
        return name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty && part.first != "-" && part.last != "-"
                && part.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
        }
    }
}
