import JSON

/// Reads an object's members one by one. Each one that is read leaves `rest`, which in the end has the unknown ones.
struct Members {
    private let what: String
    private(set) var rest: [String: JSONValue]

    init(_ json: JSONValue, of what: String) throws(OCIError) {
        guard let members = json.object else { throw .document("\(what) is not a JSON object") }
        self.what = what
        self.rest = members
    }

    /// Takes a member; nil if it is missing or null.
    mutating func value(_ name: String) -> JSONValue? {
        let value = rest.removeValue(forKey: name)
        return value == .null ? nil : value
    }

    func wrong(_ name: String) -> OCIError { .document("\(what) has no valid '\(name)'") }

    mutating func string(_ name: String) throws(OCIError) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string else { throw wrong(name) }
        return text
    }

    mutating func requiredString(_ name: String) throws(OCIError) -> String {
        guard let text = try string(name) else { throw wrong(name) }
        return text
    }

    mutating func mediaType(_ name: String) throws(OCIError) -> MediaType? {
        guard let text = try string(name), !text.isEmpty else { return nil }
        return try MediaType(parsing: text)
    }

    mutating func requiredSize(_ name: String) throws(OCIError) -> Int64 {
        guard let size = value(name)?.integer, size >= 0 else { throw wrong(name) }
        return size
    }

    mutating func strings(_ name: String) throws(OCIError) -> [String: String] {
        guard let value = value(name) else { return [:] }
        guard let members = value.object else { throw wrong(name) }
        var strings: [String: String] = [:]
        for (key, value) in members {
            guard let text = value.string else { throw wrong(name) }
            strings[key] = text
        }
        return strings
    }

    mutating func list<Element>(
        _ name: String, _ element: (JSONValue) throws(OCIError) -> Element
    ) throws(OCIError) -> [Element]? {
        guard let value = value(name) else { return nil }
        guard let values = value.array else { throw wrong(name) }
        var elements: [Element] = []
        for value in values { elements.append(try element(value)) }
        return elements
    }

    /// Takes a list that the specifications require; empty if it is missing or null, as programs written in Go encode an
    /// empty one.
    mutating func listOrNone<Element>(
        _ name: String, _ element: (JSONValue) throws(OCIError) -> Element
    ) throws(OCIError) -> [Element] { try list(name, element) ?? [] }

    mutating func stringList(_ name: String) throws(OCIError) -> [String]? {
        let wrong = wrong(name)
        return try list(name) { (value) throws(OCIError) in
            guard let text = value.string else { throw wrong }
            return text
        }
    }

    /// Takes `schemaVersion`, which must be 2.
    mutating func schemaVersion() throws(OCIError) {
        guard value("schemaVersion")?.integer == 2 else { throw .document("\(what)'s schemaVersion is not 2") }
    }
}

extension [String: JSONValue] {
    mutating func set(_ name: String, _ strings: [String: String]) {
        if !strings.isEmpty { self[name] = .object(strings.mapValues { .string($0) }) }
    }

    mutating func set(_ name: String, _ mediaType: MediaType?) {
        if let mediaType { self[name] = .string(mediaType.text) }
    }

    mutating func set(_ name: String, _ strings: [String]) {
        if !strings.isEmpty { self[name] = .array(strings.map { .string($0) }) }
    }

    mutating func set(_ name: String, _ string: String?) {
        if let string { self[name] = .string(string) }
    }
}

/// What is wrong with a text or document of the OCI specifications. The payload is the text as it was given, or what is
/// wrong with a document; callers that answer over a network bound and escape it.
public enum OCIError: Error, Hashable, Sendable {
    /// Not a digest of a registered algorithm.
    case digest(String)
    /// Not a repository name of the distribution specification.
    case name(String)
    /// Not a tag of the distribution specification.
    case tag(String)
    /// Not a media type of RFC 6838.
    case mediaType(String)
    /// A document that is no valid manifest, index, descriptor or config, and why.
    case document(String)
}

extension OCIError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .digest(let text): "'\(text)' is not a digest (sha256:<64 hex> or sha512:<128 hex>)"
        case .name(let text): "'\(text)' is not a repository name"
        case .tag(let text): "'\(text)' is not a tag"
        case .mediaType(let text): "'\(text)' is not a media type"
        case .document(let reason): reason
        }
    }
}
