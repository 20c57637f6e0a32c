import JSON

/// A kind of object that the API serves.
public struct ResourceType: Hashable, Sendable {
    /// Empty for the core group.
    public let group: String
    public let version: String
    public let plural: String
    public let kind: String
    public let isNamespaced: Bool
    let subresources: Set<String>
    let shortNames: [String]

    public init(
        _ group: String, _ version: String, _ plural: String, _ kind: String, namespaced: Bool = true,
        subresources: Set<String> = [], shortNames: [String] = []
    ) {
        self.group = group
        self.version = version
        self.plural = plural
        self.kind = kind
        isNamespaced = namespaced
        self.subresources = subresources
        self.shortNames = shortNames
    }

    public static func == (one: ResourceType, other: ResourceType) -> Bool {
        one.group == other.group && one.plural == other.plural && one.version == other.version
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(group)
        hasher.combine(plural)
    }

    public var groupVersion: String { group.isEmpty ? version : "\(group)/\(version)" }
    /// As messages name it: `statefulsets.apps`.
    var qualified: String { group.isEmpty ? plural : "\(plural).\(group)" }
    var hasStatus: Bool { subresources.contains("status") }
    /// Kinds whose `metadata.generation` counts the changes of their spec (API conventions, "Metadata").
    var hasGeneration: Bool { !["configmaps", "secrets", "events", "leases", "nodes", "namespaces"].contains(plural) }

    public static let pods = ResourceType(
        "", "v1", "pods", "Pod",
        subresources: ["status", "log", "exec", "binding", "eviction", "ephemeralcontainers", "resize"],
        shortNames: ["po"])
    public static let namespaces = ResourceType(
        "", "v1", "namespaces", "Namespace", namespaced: false, subresources: ["status", "finalize"],
        shortNames: ["ns"])
    public static let nodes = ResourceType(
        "", "v1", "nodes", "Node", namespaced: false, subresources: ["status"], shortNames: ["no"])
    public static let secrets = ResourceType("", "v1", "secrets", "Secret")
    public static let configMaps = ResourceType("", "v1", "configmaps", "ConfigMap", shortNames: ["cm"])
    public static let events = ResourceType("", "v1", "events", "Event", shortNames: ["ev"])
    public static let services = ResourceType(
        "", "v1", "services", "Service", subresources: ["status"], shortNames: ["svc"])
    public static let serviceAccounts = ResourceType(
        "", "v1", "serviceaccounts", "ServiceAccount", subresources: ["token"], shortNames: ["sa"])
    public static let statefulSets = ResourceType(
        "apps", "v1", "statefulsets", "StatefulSet", subresources: ["status", "scale"], shortNames: ["sts"])
    public static let deployments = ResourceType(
        "apps", "v1", "deployments", "Deployment", subresources: ["status", "scale"], shortNames: ["deploy"])
    public static let replicaSets = ResourceType(
        "apps", "v1", "replicasets", "ReplicaSet", subresources: ["status", "scale"], shortNames: ["rs"])
    public static let daemonSets = ResourceType(
        "apps", "v1", "daemonsets", "DaemonSet", subresources: ["status"], shortNames: ["ds"])
    public static let controllerRevisions = ResourceType("apps", "v1", "controllerrevisions", "ControllerRevision")
    public static let jobs = ResourceType("batch", "v1", "jobs", "Job", subresources: ["status"])
    public static let cronJobs = ResourceType(
        "batch", "v1", "cronjobs", "CronJob", subresources: ["status"], shortNames: ["cj"])
    public static let disruptionBudgets = ResourceType(
        "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", subresources: ["status"], shortNames: ["pdb"])
    public static let leases = ResourceType("coordination.k8s.io", "v1", "leases", "Lease")
    public static let endpointSlices = ResourceType("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
    public static let networkPolicies = ResourceType(
        "networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", shortNames: ["netpol"])
    public static let mutatingWebhooks = ResourceType(
        "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration",
        namespaced: false)
    public static let roles = ResourceType("rbac.authorization.k8s.io", "v1", "roles", "Role")
    public static let roleBindings = ResourceType("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
    public static let clusterRoles = ResourceType(
        "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced: false)
    public static let clusterRoleBindings = ResourceType(
        "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced: false)
    /// Reviews are asked by POST and never stored.
    static let reviews: [ResourceType] = [
        ResourceType("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced: false),
        ResourceType(
            "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced: false),
        ResourceType("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced: false),
        ResourceType("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced: false),
    ]

    public static let standard: [ResourceType] =
        [
            pods, namespaces, nodes, secrets, configMaps, events, services, serviceAccounts, statefulSets, deployments,
            replicaSets, daemonSets, controllerRevisions, jobs, cronJobs, disruptionBudgets, leases, endpointSlices,
            networkPolicies, mutatingWebhooks, roles, roleBindings, clusterRoles, clusterRoleBindings,
            ResourceType(
                "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", subresources: ["status"],
                shortNames: ["pvc"]),
            ResourceType("", "v1", "limitranges", "LimitRange"),
            ResourceType("", "v1", "resourcequotas", "ResourceQuota", subresources: ["status"]),
            ResourceType("events.k8s.io", "v1", "events", "Event", shortNames: ["ev"]),
            ResourceType("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced: false),
            ResourceType(
                "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
                namespaced: false, subresources: ["status"]),
            ResourceType(
                "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations",
                "ValidatingWebhookConfiguration", namespaced: false),
        ] + reviews
}

/// Discovery (API concepts, "API discovery", the unaggregated form).
struct Discovery {
    let types: [ResourceType]

    var versions: JSONValue { ["kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []] }

    var groups: JSONValue {
        var names: [String: [String]] = [:]
        for type in types where !type.group.isEmpty {
            if names[type.group]?.contains(type.version) != true { names[type.group, default: []].append(type.version) }
        }
        return [
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": .array(names.keys.sorted().map { group($0, names[$0] ?? []) }),
        ]
    }

    private func group(_ name: String, _ versions: [String]) -> JSONValue {
        let versions = versions.map { version -> JSONValue in
            ["groupVersion": .string("\(name)/\(version)"), "version": .string(version)]
        }
        return ["name": .string(name), "versions": .array(versions), "preferredVersion": versions[0]]
    }

    func group(named name: String) -> JSONValue? {
        groups["groups"]?.array?.first { $0["name"]?.string == name }.map {
            var group = $0
            group.set("APIGroup", "kind")
            group.set("v1", "apiVersion")
            return group
        }
    }

    func resources(of groupVersion: String) -> JSONValue? {
        let own = types.filter { $0.groupVersion == groupVersion }
        guard !own.isEmpty else { return nil }
        var resources: [JSONValue] = []
        for type in own {
            let isReview = ResourceType.reviews.contains(type)
            let verbs: JSONValue =
                isReview
                ? ["create"]
                : ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
            resources.append([
                "name": .string(type.plural), "singularName": .string(type.kind.lowercased()),
                "namespaced": .bool(type.isNamespaced), "kind": .string(type.kind), "verbs": verbs,
                "shortNames": .array(type.shortNames.map(JSONValue.string)),
            ])
            for subresource in type.subresources.sorted() {
                resources.append([
                    "name": .string("\(type.plural)/\(subresource)"), "singularName": "",
                    "namespaced": .bool(type.isNamespaced), "kind": .string(type.kind),
                    "verbs": ["get", "patch", "update"],
                ])
            }
        }
        return [
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": .string(groupVersion),
            "resources": .array(resources),
        ]
    }

    /// `/openapi/v3`: a document for each group and version.
    var schemas: JSONValue {
        var paths: JSONObject = [:]
        for type in types {
            let path = (type.group.isEmpty ? "api/" : "apis/") + type.groupVersion
            paths[path] = ["serverRelativeURL": .string("/openapi/v3/" + path)]
        }
        return ["paths": .object(paths)]
    }

    /// A document without schemas: that writes take `fieldValidation` and `dryRun` is what clients look for in it.
    func schema(of groupVersion: String) -> JSONValue? {
        var paths: JSONObject = [:]
        for type in types where type.groupVersion == groupVersion {
            let root = (type.group.isEmpty ? "/api/" : "/apis/") + groupVersion
            let place = type.isNamespaced ? "/namespaces/{namespace}/" : "/"
            let parameters = ["dryRun", "fieldManager", "fieldValidation", "force"].map { name -> JSONValue in
                ["name": .string(name), "in": "query", "schema": ["type": "string", "uniqueItems": true]]
            }
            paths[root + place + type.plural + "/{name}"] = [
                "patch": [
                    "parameters": .array(parameters), "responses": ["200": ["description": "OK"]],
                    "x-kubernetes-action": "patch",
                    "x-kubernetes-group-version-kind": [
                        "group": .string(type.group), "version": .string(type.version), "kind": .string(type.kind),
                    ],
                ]
            ]
        }
        guard !paths.isEmpty else { return nil }
        return [
            "openapi": "3.0.0", "info": ["title": "Kubernetes", "version": "v1.36.2"], "paths": .object(paths),
        ]
    }
}
