import JSON

/// RFC 6902, with what the API server does where one can't be applied.
enum JSONPatch {
    struct Failure: Error { let message: String }

    static func apply(_ patch: JSONValue, to document: JSONValue) throws(Failure) -> JSONValue {
        guard let operations = patch.array else { throw Failure(message: "a JSON patch is an array") }
        // "The allowed maximum operations in a JSON patch is 10000".
        guard operations.count <= 10_000 else { throw Failure(message: "too many operations") }
        var document = document
        for operation in operations { document = try apply(one: operation, to: document) }
        return document
    }

    private static func apply(one operation: JSONValue, to document: JSONValue) throws(Failure) -> JSONValue {
        let name = operation["op"]?.string ?? ""
        let path = try pointer(operation["path"])
        switch name {
        case "test":
            guard let expected = operation["value"] else { throw Failure(message: "test without a value") }
            guard sameValue(value(at: path, in: document) ?? .null, expected) else {
                throw Failure(message: "testing value \(operation["path"]?.string ?? "") failed: test failed")
            }
            return document
        case "add":
            guard let value = operation["value"] else { throw Failure(message: "add without a value") }
            return try change(document, path, .add(value))
        case "replace":
            guard let value = operation["value"] else { throw Failure(message: "replace without a value") }
            return try change(document, path, .replace(value))
        case "remove": return try change(document, path, .remove)
        case "move", "copy":
            let from = try pointer(operation["from"])
            guard let value = value(at: from, in: document) else { throw Failure(message: "missing value: from") }
            let rest = name == "move" ? try change(document, from[...], .remove) : document
            return try change(rest, path, .add(value))
        default: throw Failure(message: "unexpected kind: \(name)")
        }
    }

    private enum Edit {
        case add(JSONValue)
        case replace(JSONValue)
        case remove
    }

    private static func change(_ value: JSONValue, _ path: ArraySlice<String>, _ edit: Edit) throws(Failure)
        -> JSONValue
    {
        guard let name = path.first else {
            if case .add(let new) = edit { return new }
            if case .replace(let new) = edit { return new }
            throw Failure(message: "the whole document can't be removed")
        }
        let isLast = path.count == 1
        if var members = value.object {
            if isLast {
                if case .add(let new) = edit {
                    members[name] = new
                } else {
                    guard members[name] != nil else { throw Failure(message: "missing value: /\(name)") }
                    if case .replace(let new) = edit { members[name] = new } else { members[name] = nil }
                }
            } else {
                guard let child = members[name] else { throw Failure(message: "doc is missing path: /\(name)") }
                members[name] = try change(child, path.dropFirst(), edit)
            }
            return .object(members)
        }
        guard var elements = value.array else { throw Failure(message: "doc is missing path: /\(name)") }
        if isLast, case .add(let new) = edit {
            let index = name == "-" ? elements.count : Int(name)
            guard let index, (0...elements.count).contains(index) else {
                throw Failure(message: "invalid index: \(name)")
            }
            elements.insert(new, at: index)
            return .array(elements)
        }
        guard let index = Int(name), elements.indices.contains(index) else {
            throw Failure(message: "invalid index: \(name)")
        }
        if isLast {
            if case .replace(let new) = edit { elements[index] = new } else { elements.remove(at: index) }
        } else {
            elements[index] = try change(elements[index], path.dropFirst(), edit)
        }
        return .array(elements)
    }

    private static func value(at path: ArraySlice<String>, in document: JSONValue) -> JSONValue? {
        var value = document
        for name in path {
            if let elements = value.array {
                guard let index = Int(name), elements.indices.contains(index) else { return nil }
                value = elements[index]
            } else {
                guard let next = value[name] else { return nil }
                value = next
            }
        }
        return value
    }

    /// Numbers are the same if they have the same value (RFC 6902, section 4.6).
    private static func sameValue(_ one: JSONValue, _ other: JSONValue) -> Bool {
        switch (one, other) {
        case (.number(let one), .number(let other)): one == other || Double(one) == Double(other)
        case (.array(let one), .array(let other)):
            one.count == other.count && zip(one, other).allSatisfy { sameValue($0, $1) }
        case (.object(let one), .object(let other)):
            one.count == other.count
                && one.allSatisfy { member in other[member.key].map { sameValue(member.value, $0) } ?? false }
        default: one == other
        }
    }

    /// RFC 6901.
    private static func pointer(_ value: JSONValue?) throws(Failure) -> ArraySlice<String> {
        guard let text = value?.string, text.isEmpty || text.hasPrefix("/") else {
            throw Failure(message: "a path is missing or malformed")
        }
        return text.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
            .map { String($0).replacing("~1", with: "/").replacing("~0", with: "~") }[...]
    }
}

/// RFC 7386, and the strategic merge patch of "Update API Objects in Place Using kubectl patch".
enum MergePatch {
    static func apply(_ patch: JSONValue, to target: JSONValue) -> JSONValue {
        guard let members = patch.object else { return patch }
        var result = target.object ?? [:]
        for (name, value) in members {
            if value == .null { result[name] = nil } else { result[name] = apply(value, to: result[name] ?? [:]) }
        }
        return .object(result)
    }

    /// - Parameter path: the names on the way to the value, by which its lists' merge keys are known.
    static func applyStrategic(_ patch: JSONValue, to target: JSONValue, path: [String] = []) -> JSONValue {
        guard var members = patch.object else { return patch }
        if members["$patch"]?.string == "replace" {
            members["$patch"] = nil
            return .object(members)
        }
        if members["$patch"]?.string == "delete" { return [:] }
        var result = target.object ?? [:]
        for (name, value) in members where !name.hasPrefix("$") {
            if value == .null {
                result[name] = nil
            } else if let elements = value.array {
                let old = result[name]?.array ?? []
                let schema = ListSchema.of(path + [name])
                result[name] = .array(merge(elements, into: old, schema, path: path + [name]))
            } else {
                result[name] = applyStrategic(value, to: result[name] ?? [:], path: path + [name])
            }
        }
        for (name, value) in members {
            guard name.hasPrefix("$deleteFromPrimitiveList/") else { continue }
            let list = String(name.dropFirst("$deleteFromPrimitiveList/".count))
            let gone = value.array ?? []
            result[list] = result[list]?.array.map { .array($0.filter { !gone.contains($0) }) }
        }
        return .object(result)
    }

    private static func merge(_ elements: [JSONValue], into old: [JSONValue], _ schema: ListSchema, path: [String])
        -> [JSONValue]
    {
        switch schema {
        case .atomic: return elements.filter { $0["$patch"] == nil }
        case .set: return old + elements.filter { !old.contains($0) }
        case .map(let keys):
            // A strategic merge patch knows one key of each list.
            let key = keys.first ?? "name"
            if elements.contains(where: { $0["$patch"]?.string == "replace" }) {
                return elements.filter { $0["$patch"] == nil }
            }
            var result = old
            for element in elements {
                let index = result.firstIndex { $0[key] == element[key] }
                if element["$patch"]?.string == "delete" {
                    if let index { result.remove(at: index) }
                } else if let index {
                    result[index] = applyStrategic(element, to: result[index], path: path)
                } else {
                    result.append(applyStrategic(element, to: [:], path: path))
                }
            }
            return result
        }
    }
}
