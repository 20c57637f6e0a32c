import JSON

/// Label selectors ("Labels and Selectors", both forms) and field selectors ("Field Selectors").
struct Selector: Sendable {
    enum Requirement: Sendable {
        case isIn(String, Set<String>)
        case notIn(String, Set<String>)
        case exists(String)
        case doesNotExist(String)
    }

    var labels: [Requirement] = []
    var fields: [(path: String, value: String, isEqual: Bool)] = []

    static let everything = Selector()

    /// - Throws: 400 for what is no selector, or a field that the kind's objects can't be selected by.
    init(labelSelector: String, fieldSelector: String, of type: ResourceType) throws(APIFailure) {
        labels = try Self.labels(labelSelector)
        for part in fieldSelector.split(separator: ",") {
            guard let sign = part.firstIndex(of: "=") else {
                throw .badRequest("invalid selector: '\(fieldSelector)'; can't understand '\(part)'")
            }
            let isEqual = sign == part.startIndex || part[part.index(before: sign)] != "!"
            let path = String(part[..<sign].filter { $0 != "!" })
            guard Self.fields(of: type).contains(path) else {
                throw .badRequest("field label not supported: \(path)")
            }
            fields.append((path, String(part[sign...].drop { $0 == "=" }), isEqual))
        }
    }

    private init() {}

    /// A `metav1.LabelSelector`; a missing one selects nothing, an empty one everything.
    init?(_ selector: JSONValue?) {
        guard let selector, selector != .null else { return nil }
        labels = (selector["matchLabels"]?.strings ?? [:]).map { .isIn($0.key, [$0.value]) }
        for expression in selector["matchExpressions"]?.array ?? [] {
            let key = expression["key"]?.string ?? ""
            let values = Set(expression["values"]?.array?.compactMap(\.string) ?? [])
            switch expression["operator"]?.string {
            case "In": labels.append(.isIn(key, values))
            case "NotIn": labels.append(.notIn(key, values))
            case "Exists": labels.append(.exists(key))
            default: labels.append(.doesNotExist(key))
            }
        }
    }

    func matches(_ object: JSONValue) -> Bool {
        (labels.isEmpty || matches(labels: object.labels))
            && fields.allSatisfy { field in
                let value = object.at(field.path.split(separator: ".").map(String.init))
                return ((value?.string ?? value?.bool.map { String($0) } ?? "") == field.value) == field.isEqual
            }
    }

    func matches(labels own: [String: String]) -> Bool {
        labels.allSatisfy { requirement in
            switch requirement {
            case .isIn(let key, let values): own[key].map(values.contains) ?? false
            // "NotIn" and "!=" also select what has no such label.
            case .notIn(let key, let values): own[key].map { !values.contains($0) } ?? true
            case .exists(let key): own[key] != nil
            case .doesNotExist(let key): own[key] == nil
            }
        }
    }

    private static func fields(of type: ResourceType) -> Set<String> {
        var fields: Set<String> = ["metadata.name", "metadata.namespace"]
        switch type.plural {
        case "pods":
            fields.formUnion([
                "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase",
                "status.podIP", "status.nominatedNodeName", "spec.hostNetwork",
            ])
        case "events":
            fields.formUnion([
                "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
                "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
                "reportingComponent", "source", "type",
            ])
        case "namespaces": fields.insert("status.phase")
        case "secrets": fields.insert("type")
        case "jobs": fields.insert("status.successful")
        case "replicasets": fields.insert("status.replicas")
        case "nodes": fields.insert("spec.unschedulable")
        default: break
        }
        return fields
    }

    private static func labels(_ text: String) throws(APIFailure) -> [Requirement] {
        var requirements: [Requirement] = []
        var rest = text[...]
        func bad() -> APIFailure { .badRequest("unable to parse requirement: \(text)") }
        while true {
            rest = rest.drop { $0 == " " || $0 == "," }
            guard !rest.isEmpty else { return requirements }
            if rest.first == "!" {
                let key = rest.dropFirst().prefix { $0 != "," }
                requirements.append(.doesNotExist(trimmed(key)))
                rest = rest.dropFirst(key.count + 1)
                continue
            }
            let key = rest.prefix { !" ,=!".contains($0) }
            guard !key.isEmpty else { throw bad() }
            rest = rest.dropFirst(key.count).drop { $0 == " " }
            if rest.isEmpty || rest.first == "," {
                requirements.append(.exists(String(key)))
            } else if rest.hasPrefix("=") || rest.hasPrefix("!=") {
                let isEqual = rest.first == "="
                rest = rest.drop { $0 == "=" || $0 == "!" }
                let value = rest.prefix { $0 != "," }
                rest = rest.dropFirst(value.count)
                let values: Set<String> = [trimmed(value)]
                requirements.append(isEqual ? .isIn(String(key), values) : .notIn(String(key), values))
            } else if rest.hasPrefix("in ") || rest.hasPrefix("in(") || rest.hasPrefix("notin") {
                let isIn = rest.hasPrefix("in")
                guard let open = rest.firstIndex(of: "("), let close = rest.firstIndex(of: ")"), open < close else {
                    throw bad()
                }
                let values = Set(
                    rest[rest.index(after: open)..<close].split(separator: ",", omittingEmptySubsequences: false)
                        .map { trimmed($0) })
                requirements.append(isIn ? .isIn(String(key), values) : .notIn(String(key), values))
                rest = rest[rest.index(after: close)...]
            } else {
                throw bad()
            }
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}
