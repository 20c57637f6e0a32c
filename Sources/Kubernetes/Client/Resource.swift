/// A kind of objects by its group, version and plural, which is what paths are made of (Kubernetes documentation, "API
/// Concepts", "Resource URIs").
package struct Resource: Hashable, Sendable, CustomStringConvertible {
    /// Empty for the core group.
    package let group: String
    package let version: String
    package let plural: String
    package let kind: String
    package let isNamespaced: Bool

    package init(group: String = "", version: String = "v1", plural: String, kind: String, isNamespaced: Bool = true) {
        (self.group, self.version, self.plural, self.kind) = (group, version, plural, kind)
        self.isNamespaced = isNamespaced
    }

    package var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }
    package var description: String { group.isEmpty ? plural : "\(plural).\(group)" }

    /// Whether messages about it may quote what nobody should read.
    var isSecret: Bool { self == .secrets || plural == "tokenreviews" || plural == "serviceaccounts" }

    /// - Parameters:
    ///   - namespace: nil for objects of the whole cluster, and for all namespaces at once.
    ///   - name: nil for the collection.
    ///   - subresource: as in `status`, `log`, `eviction`.
    /// - Throws: `KubernetesError.configuration` for what can't be part of a path.
    func path(namespace: String?, name: String? = nil, subresource: String? = nil) throws(KubernetesError) -> String {
        var parts = group.isEmpty ? ["api", version] : ["apis", group, version]
        if let namespace, isNamespaced { parts += ["namespaces", namespace] }
        parts.append(plural)
        if let name {
            guard namespace != nil || !isNamespaced else {
                throw .configuration("\(description)/\(name): an object of this kind is in a namespace")
            }
            parts.append(name)
        }
        if let subresource { parts.append(subresource) }
        var path = ""
        for part in parts {
            // What a server or a proxy would normalize away must not become another object's path.
            guard !part.isEmpty, part != ".", part != ".." else {
                throw .configuration("'\(part)' can't be a part of a path to \(description)")
            }
            path += "/" + percentEncoded(part)
        }
        return path
    }
}

/// The form of a query (RFC 3986, section 3.4), `?` included; empty if there are no values.
func query(_ values: [(name: String, value: String?)]) -> String {
    let pairs = values.compactMap { name, value in value.map { "\(percentEncoded(name))=\(percentEncoded($0))" } }
    return pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&")
}

/// All but the unreserved characters (RFC 3986, section 2.3) as percent signs with hexadecimal digits.
func percentEncoded(_ text: String) -> String {
    var output: [UInt8] = []
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            output.append(byte)
        default:
            output.append(UInt8(ascii: "%"))
            for digit in [byte >> 4, byte & 15] {
                output.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "A") + digit - 10)
            }
        }
    }
    return String(decoding: output, as: UTF8.self)
}

extension Resource {
    package static let pods = Resource(plural: "pods", kind: "Pod")
    package static let secrets = Resource(plural: "secrets", kind: "Secret")
    package static let configMaps = Resource(plural: "configmaps", kind: "ConfigMap")
    package static let services = Resource(plural: "services", kind: "Service")
    package static let serviceAccounts = Resource(plural: "serviceaccounts", kind: "ServiceAccount")
    package static let events = Resource(plural: "events", kind: "Event")
    package static let namespaces = Resource(plural: "namespaces", kind: "Namespace", isNamespaced: false)
    package static let nodes = Resource(plural: "nodes", kind: "Node", isNamespaced: false)
    package static let statefulSets = Resource(group: "apps", plural: "statefulsets", kind: "StatefulSet")
    package static let deployments = Resource(group: "apps", plural: "deployments", kind: "Deployment")
    package static let daemonSets = Resource(group: "apps", plural: "daemonsets", kind: "DaemonSet")
    package static let replicaSets = Resource(group: "apps", plural: "replicasets", kind: "ReplicaSet")
    package static let controllerRevisions = Resource(
        group: "apps", plural: "controllerrevisions", kind: "ControllerRevision")
    package static let jobs = Resource(group: "batch", plural: "jobs", kind: "Job")
    package static let cronJobs = Resource(group: "batch", plural: "cronjobs", kind: "CronJob")
    package static let leases = Resource(group: "coordination.k8s.io", plural: "leases", kind: "Lease")
    package static let networkPolicies = Resource(
        group: "networking.k8s.io", plural: "networkpolicies", kind: "NetworkPolicy")
    package static let mutatingWebhookConfigurations = Resource(
        group: "admissionregistration.k8s.io", plural: "mutatingwebhookconfigurations",
        kind: "MutatingWebhookConfiguration", isNamespaced: false)
}
