package import JSON

/// An object of the API: all of its fields, those that nothing here knows included, so that what is read and written
/// again loses nothing.
package struct KubernetesObject: Hashable, Sendable {
    package var json: JSONObject

    package init(_ json: JSONObject) { self.json = json }

    /// nil if the value is no JSON object.
    package init?(_ value: JSONValue) {
        guard case .object(let json) = value else { return nil }
        self.json = json
    }

    /// A new object with a name.
    package init(apiVersion: String, kind: String, namespace: String? = nil, name: String) {
        var metadata: JSONObject = ["name": .string(name)]
        if let namespace { metadata["namespace"] = .string(namespace) }
        json = ["apiVersion": .string(apiVersion), "kind": .string(kind), "metadata": .object(metadata)]
    }

    package var value: JSONValue { .object(json) }

    /// A member of the object itself, as in `object["spec"]`.
    package subscript(_ name: String) -> JSONValue? {
        get { json[name] }
        set { json[name] = newValue }
    }

    /// The value at the end of a path of members' names, nil if a part of it is missing.
    package func value(at path: String...) -> JSONValue? {
        path.reduce(value as JSONValue?) { $0?[$1] }
    }

    package var apiVersion: String { json["apiVersion"]?.string ?? "" }
    package var kind: String { json["kind"]?.string ?? "" }

    package var metadata: JSONObject {
        get { json["metadata"]?.object ?? [:] }
        set { json["metadata"] = .object(newValue) }
    }

    /// Empty if the server is to choose it.
    package var name: String { text("name") }
    /// Empty for objects of the whole cluster.
    package var namespace: String { text("namespace") }
    package var uid: String { text("uid") }
    /// Opaque: it may be compared for equality and handed back, and nothing else.
    package var resourceVersion: String {
        get { text("resourceVersion") }
        set { metadata["resourceVersion"] = newValue.isEmpty ? nil : .string(newValue) }
    }
    package var generation: Int64? { metadata["generation"]?.integer }
    package var creationTime: APITime? { metadata["creationTimestamp"]?.string.flatMap(APITime.init) }
    /// When the object was asked to go: it is there until its finalizers are gone.
    package var deletionTime: APITime? { metadata["deletionTimestamp"]?.string.flatMap(APITime.init) }
    package var isBeingDeleted: Bool { metadata["deletionTimestamp"]?.string != nil }

    package var labels: [String: String] {
        get { texts("labels") }
        set { setTexts("labels", newValue) }
    }
    package var annotations: [String: String] {
        get { texts("annotations") }
        set { setTexts("annotations", newValue) }
    }

    package var finalizers: [String] {
        get { metadata["finalizers"]?.array?.compactMap(\.string) ?? [] }
        set { metadata["finalizers"] = newValue.isEmpty ? nil : .array(newValue.map { .string($0) }) }
    }

    package var ownerReferences: [OwnerReference] {
        get { metadata["ownerReferences"]?.array?.compactMap(OwnerReference.init) ?? [] }
        set { metadata["ownerReferences"] = newValue.isEmpty ? nil : .array(newValue.map(\.value)) }
    }

    /// The owner that manages this object, as a ReplicaSet does its pods.
    package var controller: OwnerReference? { ownerReferences.first { $0.isController } }

    package var key: ObjectKey { ObjectKey(namespace: namespace, name: name) }

    private func text(_ name: String) -> String { json["metadata"]?[name]?.string ?? "" }

    private func texts(_ name: String) -> [String: String] {
        guard let members = json["metadata"]?[name]?.object else { return [:] }
        return Dictionary(members.compactMap { key, value in value.string.map { (key, $0) } }) { _, last in last }
    }

    private mutating func setTexts(_ name: String, _ values: [String: String]) {
        metadata[name] = values.isEmpty ? nil : .object(JSONObject(values.mapValues { .string($0) }))
    }
}

/// A namespace, empty for objects of the whole cluster, and a name.
package struct ObjectKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let namespace: String
    package let name: String

    package init(namespace: String, name: String) { (self.namespace, self.name) = (namespace, name) }

    package var description: String { namespace.isEmpty ? name : "\(namespace)/\(name)" }

    package static func < (one: ObjectKey, other: ObjectKey) -> Bool {
        (one.namespace, one.name) < (other.namespace, other.name)
    }
}

/// Whom an object belongs to: when the last owner is gone, the garbage collector removes it.
package struct OwnerReference: Hashable, Sendable {
    package let apiVersion: String
    package let kind: String
    package let name: String
    package let uid: String
    package let isController: Bool
    package let blocksDeletion: Bool

    /// - Parameter owner: as the server has answered it, with its uid.
    package init(_ owner: KubernetesObject, isController: Bool = true, blocksDeletion: Bool = false) {
        (apiVersion, kind, name, uid) = (owner.apiVersion, owner.kind, owner.name, owner.uid)
        (self.isController, self.blocksDeletion) = (isController, blocksDeletion)
    }

    init?(_ json: JSONValue) {
        guard let kind = json["kind"]?.string, let name = json["name"]?.string, let uid = json["uid"]?.string else {
            return nil
        }
        (self.kind, self.name, self.uid) = (kind, name, uid)
        apiVersion = json["apiVersion"]?.string ?? ""
        isController = json["controller"]?.bool ?? false
        blocksDeletion = json["blockOwnerDeletion"]?.bool ?? false
    }

    var value: JSONValue {
        [
            "apiVersion": .string(apiVersion), "kind": .string(kind), "name": .string(name), "uid": .string(uid),
            "controller": .bool(isController), "blockOwnerDeletion": .bool(blocksDeletion),
        ]
    }
}
