import JSON

/// Who owns which field of an object (server-side apply, "Field management").
struct ManagedFields {
    struct Manager: Hashable {
        var name: String
        var operation: String
        var subresource: String
    }

    private(set) var entries: [(manager: Manager, set: FieldSet, time: String, version: String)]

    init(of object: JSONValue) {
        entries = (object.at("metadata", "managedFields")?.array ?? []).map { entry in
            (
                Manager(
                    name: entry["manager"]?.string ?? "", operation: entry["operation"]?.string ?? "Update",
                    subresource: entry["subresource"]?.string ?? ""),
                FieldSet(fieldsV1: entry["fieldsV1"] ?? [:]), entry["time"]?.string ?? "",
                entry["apiVersion"]?.string ?? ""
            )
        }
    }

    var json: JSONValue {
        .array(
            entries.filter { !$0.set.isEmpty }.map { entry in
                var json: JSONValue = [
                    "manager": .string(entry.manager.name), "operation": .string(entry.manager.operation),
                    "apiVersion": .string(entry.version), "time": .string(entry.time), "fieldsType": "FieldsV1",
                    "fieldsV1": entry.set.fieldsV1,
                ]
                if !entry.manager.subresource.isEmpty { json.set(.string(entry.manager.subresource), "subresource") }
                return json
            })
    }

    func set(of manager: Manager) -> FieldSet { entries.first { $0.manager == manager }?.set ?? FieldSet() }

    mutating func give(_ set: FieldSet, to manager: Manager, version: String, time: String) {
        if let index = entries.firstIndex(where: { $0.manager == manager }) {
            if entries[index].set == set { return }
            entries[index] = (manager, set, time, version)
        } else if !set.isEmpty {
            entries.append((manager, set, time, version))
        }
    }

    mutating func take(_ set: FieldSet, fromAllBut manager: Manager) {
        for index in entries.indices where entries[index].manager != manager {
            entries[index].set = entries[index].set.subtracting(set)
        }
    }

    /// What a write that is no apply does: its manager owns what it changed or added, nobody what it removed ("Field
    /// management": "Update" operations).
    mutating func update(
        from old: JSONValue, to new: JSONValue, by manager: Manager, version: String, time: String
    ) {
        let (before, after) = (FieldSet(of: old), FieldSet(of: new))
        let removed = before.subtracting(after)
        var changed = FieldSet()
        for path in after.paths {
            let isList = path.elements.last?.hasPrefix("k:") ?? false
            let (one, other) = (FieldSet.value(at: path.elements, in: old), FieldSet.value(at: path.elements, in: new))
            // Of a list's element its being there is owned, and each of its fields for itself.
            guard isList ? one == nil : one != other else { continue }
            changed = changed.union(Self.single(path.elements[...]))
        }
        for index in entries.indices { entries[index].set = entries[index].set.subtracting(removed) }
        guard !changed.isEmpty else { return }
        take(changed, fromAllBut: manager)
        give(set(of: manager).union(changed), to: manager, version: version, time: time)
    }

    private static func single(_ path: ArraySlice<String>) -> FieldSet {
        guard let name = path.first else { return FieldSet(isMember: true) }
        var set = FieldSet()
        set.children[name] = single(path.dropFirst())
        return set
    }
}

/// PATCH with `application/apply-patch+yaml` (server-side apply).
enum ServerSideApply {
    struct Conflict: Error {
        let causes: [(manager: String, field: String)]
    }

    /// - Returns: the object with its new `managedFields`.
    /// - Throws: `Conflict` if another manager owns a field that is set to something else, unless it is forced.
    static func apply(
        _ applied: JSONValue, to live: JSONValue, by manager: ManagedFields.Manager, force: Bool, version: String,
        time: String
    ) throws(Conflict) -> JSONValue {
        var managed = ManagedFields(of: live)
        let set = FieldSet(of: applied)
        var conflicts: [(manager: String, field: String)] = []
        var contested = FieldSet()
        for entry in managed.entries where entry.manager != manager {
            let common = entry.set.intersection(set)
            for path in common.paths {
                if path.elements.last?.hasPrefix("k:") ?? false { continue }
                let (wanted, current) = (
                    FieldSet.value(at: path.elements, in: applied), FieldSet.value(at: path.elements, in: live)
                )
                guard wanted != current else { continue }
                conflicts.append((describe(entry.manager, entry.version), path.text))
                var single = FieldSet(isMember: true)
                for element in path.elements.reversed() {
                    var parent = FieldSet()
                    parent.children[element] = single
                    single = parent
                }
                contested = contested.union(single)
            }
        }
        if !conflicts.isEmpty && !force { throw Conflict(causes: conflicts) }
        var result = merge(applied, into: live, path: [])
        managed.take(contested, fromAllBut: manager)
        // What this manager applied before and does not now goes, unless somebody else owns it too.
        let dropped = managed.set(of: manager).subtracting(set)
        for path in dropped.paths.sorted(by: { $0.elements.count > $1.elements.count }) {
            let isShared = managed.entries.contains {
                $0.manager != manager && $0.set.contains(prefix: path.elements[...])
            }
            if !isShared && !set.contains(prefix: path.elements[...]) {
                result = FieldSet.remove(path.elements[...], from: result)
            }
        }
        managed.give(set, to: manager, version: version, time: time)
        result.set(managed.json, "metadata", "managedFields")
        return result
    }

    private static func describe(_ manager: ManagedFields.Manager, _ version: String) -> String {
        manager.operation == "Apply" ? "\"\(manager.name)\"" : "\"\(manager.name)\" using \(version)"
    }

    private static func merge(_ applied: JSONValue, into live: JSONValue, path: [String]) -> JSONValue {
        if let members = applied.object, !ListSchema.isAtomicObject(path), let old = live.object {
            var result = old
            for (name, value) in members {
                result[name] = old[name].map { merge(value, into: $0, path: path + [name]) } ?? value
            }
            return .object(result)
        }
        guard let elements = applied.array, let old = live.array else { return applied }
        switch ListSchema.of(path) {
        case .atomic: return applied
        case .set: return .array(old + elements.filter { !old.contains($0) })
        case .map(let keys):
            var result = old
            for element in elements {
                let key = FieldSet.key(of: element, keys)
                if let index = result.firstIndex(where: { FieldSet.key(of: $0, keys) == key }) {
                    result[index] = merge(element, into: result[index], path: path)
                } else {
                    result.append(element)
                }
            }
            return .array(result)
        }
    }
}
