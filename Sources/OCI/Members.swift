import JSON

/// Reads an object's members one by one. Each one that is read leaves `rest`, which in the end has the unknown ones.
struct Members {
    /// What the object is, for errors: "the manifest's layers[2]".
    private let what: String
    private(set) var rest: JSONObject

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

    /// What a member is, for errors.
    func path(_ name: String) -> String { "\(what)'s \(name)" }

    /// Runs the body, whose errors then say what is wrong with a member.
    func reading<Value>(_ name: String, _ body: () throws(OCIError) -> Value) throws(OCIError) -> Value {
        do { return try body() } catch { throw .document("\(path(name)): \(error)") }
    }

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
        return try reading(name) { () throws(OCIError) in try MediaType(parsing: text) }
    }

    mutating func requiredSize(_ name: String) throws(OCIError) -> Int64 {
        guard let size = value(name)?.integer, size >= 0 else { throw wrong(name) }
        return size
    }

    mutating func strings(_ name: String) throws(OCIError) -> ByName<String> {
        guard let value = value(name) else { return [:] }
        guard let members = value.object else { throw wrong(name) }
        var strings: ByName<String> = [:]
        for (key, value) in members {
            guard let text = value.string else {
                throw .document("\(path(name)) has a value that is not a string: '\(key.excerpt)'")
            }
            strings[key] = text
        }
        return strings
    }

    mutating func list<Element>(
        _ name: String, _ element: (JSONValue, _ what: String) throws(OCIError) -> Element
    ) throws(OCIError) -> [Element]? {
        guard let value = value(name) else { return nil }
        guard let values = value.array else { throw wrong(name) }
        var elements: [Element] = []
        for (index, value) in values.enumerated() { elements.append(try element(value, "\(path(name))[\(index)]")) }
        return elements
    }

    /// Takes a list that the specifications require; empty if it is missing or null, as programs written in Go encode an
    /// empty one.
    mutating func listOrNone<Element>(
        _ name: String, _ element: (JSONValue, _ what: String) throws(OCIError) -> Element
    ) throws(OCIError) -> [Element] { try list(name, element) ?? [] }

    mutating func stringList(_ name: String) throws(OCIError) -> [String]? {
        try list(name) { (value, what) throws(OCIError) in
            guard let text = value.string else { throw .document("\(what) is not a string") }
            return text
        }
    }

    /// Takes `schemaVersion`, which must be 2.
    mutating func schemaVersion() throws(OCIError) {
        guard value("schemaVersion")?.integer == 2 else { throw .document("\(path("schemaVersion")) is not 2") }
    }
}

extension JSONObject {
    mutating func set(_ name: String, _ strings: ByName<String>) {
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
        case .digest(let text): Self.fault(inDigest: text)
        case .name(let text): "'\(text.excerpt)' is not a repository name"
        case .tag(let text): "'\(text.excerpt)' is not a tag"
        case .mediaType(let text): "'\(text.excerpt)' is not a media type"
        case .document(let reason): reason
        }
    }

    private static func fault(inDigest text: String) -> String {
        let known = DigestAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return "'\(text.excerpt)' is not a digest (sha256:<64 hex> or sha512:<128 hex>)" }
        guard let algorithm = DigestAlgorithm(rawValue: String(parts[0])) else {
            return "'\(String(parts[0]).excerpt)' is not an algorithm that is taken here: \(known)"
        }
        return
            "'\(text.excerpt)' is not a digest: \(algorithm.rawValue) has \(algorithm.hexLength) digits, 0 to 9 and a to f"
    }
}

extension String {
    /// The text's beginning without control characters, for errors.
    var excerpt: String {
        let shown = unicodeScalars.prefix(160).filter { $0.value >= 32 && $0.value != 127 }
        return String(String.UnicodeScalarView(shown)) + (unicodeScalars.count > 160 ? "…" : "")
    }
}
