package import JSON

/// Reading and writing members deep inside an object.
extension JSONValue {
    /// The value at a path of member names; nil if any is missing.
    package func at(_ path: String...) -> JSONValue? { at(path) }

    package func at(_ path: [String]) -> JSONValue? {
        var value = self
        for name in path {
            guard let next = value[name] else { return nil }
            value = next
        }
        return value
    }

    /// Sets the value at a path, making the objects on the way; nil removes it.
    package mutating func set(_ value: JSONValue?, _ path: String...) { set(value, at: path[...]) }

    package mutating func set(_ value: JSONValue?, at path: ArraySlice<String>) {
        guard let name = path.first else {
            self = value ?? .null
            return
        }
        var members = object ?? [:]
        if path.count == 1 {
            members[name] = value
        } else {
            if value == nil && members[name] == nil { return }
            var child = members[name] ?? [:]
            child.set(value, at: path.dropFirst())
            members[name] = child
        }
        self = .object(members)
    }

    /// Sets the value at a path unless there is one: a default.
    mutating func setDefault(_ value: JSONValue, _ path: String...) {
        if at(path) == nil || at(path) == .null { set(value, at: path[...]) }
    }

    var metadata: JSONValue { self["metadata"] ?? [:] }
    package var name: String { metadata["name"]?.string ?? "" }
    package var namespace: String { metadata["namespace"]?.string ?? "" }
    package var uid: String { metadata["uid"]?.string ?? "" }
    package var resourceVersion: String { metadata["resourceVersion"]?.string ?? "" }
    var labels: [String: String] { metadata["labels"]?.strings ?? [:] }
    var annotations: [String: String] { metadata["annotations"]?.strings ?? [:] }
    var isDeleting: Bool { metadata["deletionTimestamp"]?.string != nil }
    var finalizers: [String] { metadata["finalizers"]?.array?.compactMap(\.string) ?? [] }
    var ownerReferences: [JSONValue] { metadata["ownerReferences"]?.array ?? [] }

    /// The reference of the one owner that controls this object; nil if there is none.
    var controllerReference: JSONValue? { ownerReferences.first { $0["controller"]?.bool == true } }

    /// An object of strings; what is no string is left out.
    var strings: [String: String] {
        var strings: [String: String] = [:]
        for (name, value) in object ?? [:] { strings[name] = value.string }
        return strings
    }

    static func strings(_ strings: [String: String]) -> JSONValue {
        .object(JSONObject(strings.mapValues(JSONValue.string)))
    }

    var int: Int? { integer.map(Int.init) }
}
