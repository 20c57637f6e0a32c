import JSON

/// How a list is merged (server-side apply, "Merge strategy").
enum ListSchema {
    case atomic
    case set
    /// Elements are told apart by these members.
    case map([String])

    /// What the schema of Kubernetes says of the list at a path.
    static func of(_ path: [String]) -> ListSchema {
        guard let name = path.last else { return .atomic }
        let parent = path.dropLast().last ?? ""
        switch name {
        case "finalizers": return .set
        case "ownerReferences": return .map(["uid"])
        case "conditions": return .map(["type"])
        case "containers", "initContainers", "ephemeralContainers", "volumes", "env", "imagePullSecrets",
            "schedulingGates", "resourceClaims", "webhooks", "matchConditions":
            return .map(["name"])
        case "containerStatuses", "initContainerStatuses": return .atomic
        case "secrets" where path.count == 1: return .map(["name"])
        case "ports":
            if parent == "containers" || parent == "initContainers" { return .map(["containerPort", "protocol"]) }
            return path == ["spec", "ports"] ? .map(["port", "protocol"]) : .atomic
        case "volumeMounts": return .map(["mountPath"])
        case "volumeDevices": return .map(["devicePath"])
        case "hostAliases", "podIPs", "hostIPs": return .map(["ip"])
        case "topologySpreadConstraints": return .map(["topologyKey", "whenUnsatisfiable"])
        default: return .atomic
        }
    }

    /// Whether an object at a path is one value, owned as a whole.
    static func isAtomicObject(_ path: [String]) -> Bool {
        let parent = path.dropLast().last ?? ""
        return switch path.last {
        case "selector", "labelSelector", "podSelector", "namespaceSelector", "objectSelector", "nodeSelector",
            "roleRef", "fieldRef", "resourceFieldRef", "secretKeyRef", "configMapKeyRef", "nodeSelectorTerms",
            "fieldsV1":
            true
        case "nodeAffinity" where parent == "affinity": false
        default: false
        }
    }
}

/// A set of fields, as `managedFields` writes it (server-side apply, "Managed fields"; the `FieldsV1` format).
struct FieldSet: Hashable, Sendable {
    /// Whether the field itself is meant.
    var isMember = false
    var children: [String: FieldSet] = [:]

    var isEmpty: Bool { !isMember && children.isEmpty }

    /// The fields that a value sets.
    init(of value: JSONValue, path: [String] = []) {
        if let members = value.object, !ListSchema.isAtomicObject(path), !members.isEmpty || path.isEmpty {
            for (name, value) in members where !Self.isIdentity(path + [name]) {
                children["f:" + name] = FieldSet(of: value, path: path + [name])
            }
        } else if let elements = value.array {
            switch ListSchema.of(path) {
            case .atomic: isMember = true
            case .set: for element in elements { children["v:" + element.canonicalText] = FieldSet(isMember: true) }
            case .map(let keys):
                for element in elements {
                    var set = FieldSet(of: element, path: path)
                    set.isMember = true
                    children[Self.key(of: element, keys)] = set
                }
            }
        } else {
            isMember = true
        }
    }

    init(isMember: Bool = false) { self.isMember = isMember }

    /// Reads `fieldsV1`.
    init(fieldsV1 value: JSONValue) {
        let members = value.object ?? [:]
        isMember = members.isEmpty || members["."] != nil
        for (name, value) in members where name != "." { children[name] = FieldSet(fieldsV1: value) }
    }

    var fieldsV1: JSONValue {
        var members: JSONObject = [:]
        if isMember && !children.isEmpty { members["."] = [:] }
        for (name, child) in children { members[name] = child.fieldsV1 }
        return .object(members)
    }

    /// What nobody owns: what an object is called, and what the server writes.
    static func isIdentity(_ path: [String]) -> Bool {
        if path.count == 1 { return ["apiVersion", "kind"].contains(path[0]) }
        return path.count == 2 && path[0] == "metadata"
            && [
                "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields",
                "selfLink", "generateName", "deletionTimestamp", "deletionGracePeriodSeconds",
            ].contains(path[1])
    }

    /// Missing members of a key take their defaults, as `protocol` does.
    static func key(of element: JSONValue, _ keys: [String]) -> String {
        var members: JSONObject = [:]
        for key in keys { members[key] = element[key] ?? (key == "protocol" ? "TCP" : nil) }
        return "k:" + JSONValue.object(members).canonicalText
    }

    func union(_ other: FieldSet) -> FieldSet {
        var union = FieldSet(isMember: isMember || other.isMember)
        union.children = children.merging(other.children) { $0.union($1) }
        return union
    }

    func subtracting(_ other: FieldSet) -> FieldSet {
        var rest = FieldSet(isMember: isMember && !other.isMember)
        for (name, child) in children {
            let left = other.children[name].map(child.subtracting) ?? child
            if !left.isEmpty { rest.children[name] = left }
        }
        return rest
    }

    func intersection(_ other: FieldSet) -> FieldSet {
        var both = FieldSet(isMember: isMember && other.isMember)
        for (name, child) in children {
            guard let common = other.children[name].map(child.intersection), !common.isEmpty else { continue }
            both.children[name] = common
        }
        return both
    }

    /// Whether the field or anything below it is meant.
    func contains(prefix path: ArraySlice<String>) -> Bool {
        guard let name = path.first else { return !isEmpty }
        return children[name]?.contains(prefix: path.dropFirst()) ?? false
    }

    /// The paths of the members, as errors name them: `.spec.template.spec.containers[name="app"].image`.
    var paths: [(elements: [String], text: String)] {
        var paths: [(elements: [String], text: String)] = isMember ? [([], "")] : []
        for name in children.keys.sorted() {
            let text = Self.text(name)
            for path in children[name]?.paths ?? [] { paths.append(([name] + path.elements, text + path.text)) }
        }
        return paths
    }

    private static func text(_ element: String) -> String {
        let body = String(element.dropFirst(2))
        if element.hasPrefix("f:") { return "." + body }
        guard element.hasPrefix("k:"), let key = try? JSONValue(parsing: body).object else { return "[=\(body)]" }
        let members = key.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.canonicalText)" }
        return "[" + members.joined(separator: ",") + "]"
    }

    /// The value at a path of elements.
    static func value(at path: some Collection<String>, in root: JSONValue) -> JSONValue? {
        var value = root
        for element in path {
            let body = String(element.dropFirst(2))
            if element.hasPrefix("f:") {
                guard let next = value[body] else { return nil }
                value = next
            } else if element.hasPrefix("v:") {
                guard let next = value.array?.first(where: { $0.canonicalText == body }) else { return nil }
                value = next
            } else {
                guard let key = try? JSONValue(parsing: body).object,
                    let next = value.array?.first(where: { Self.key(of: $0, Array(key.keys)) == element })
                else { return nil }
                value = next
            }
        }
        return value
    }

    /// Removes the value at a path of elements.
    static func remove(_ path: ArraySlice<String>, from value: JSONValue) -> JSONValue {
        guard let element = path.first else { return value }
        let body = String(element.dropFirst(2))
        if element.hasPrefix("f:") {
            guard var members = value.object, let child = members[body] else { return value }
            members[body] = path.count == 1 ? nil : remove(path.dropFirst(), from: child)
            return .object(members)
        }
        guard var elements = value.array else { return value }
        let keys = element.hasPrefix("k:") ? (try? JSONValue(parsing: body))?.object.map { Array($0.keys) } : nil
        let index = elements.firstIndex { one in
            keys.map { key(of: one, $0) == element } ?? (one.canonicalText == body)
        }
        guard let index else { return value }
        if path.count == 1 {
            elements.remove(at: index)
        } else {
            elements[index] = remove(path.dropFirst(), from: elements[index])
        }
        return .array(elements)
    }
}
