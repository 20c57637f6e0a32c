import Foundation
import JSON
import Yams

/// A request to the API, free of how it came.
package struct APIRequest: Sendable {
    package var method: String
    /// Percent-decoded.
    package var path: String
    package var query: [String: String]
    package var headers: [String: String]
    package var body: [UInt8]
    /// The user that the client's certificate names: CN is the name, O are the groups ("Authenticating", "X.509").
    package var certificateUser: User?

    package init(
        method: String, target: String, headers: [String: String] = [:], body: [UInt8] = [],
        certificateUser: User? = nil
    ) {
        self.method = method
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = String(parts[0]).removingPercentEncoding ?? String(parts[0])
        query = [:]
        for pair in parts.dropFirst().first?.split(separator: "&") ?? [] {
            let pair = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = pair.count == 2 ? String(pair[1]).replacing("+", with: " ") : ""
            let name = String(pair[0]).removingPercentEncoding ?? ""
            let decoded = value.removingPercentEncoding ?? value
            // A command is given once for each word.
            query[name] = name == "command" ? (query[name].map { $0 + "\0" } ?? "") + decoded : decoded
        }
        self.headers = headers
        self.body = body
        self.certificateUser = certificateUser
    }

    func flag(_ name: String) -> Bool { ["true", "1"].contains(query[name] ?? "") }
    var userAgent: String { headers["user-agent"] ?? "unknown" }
    var contentType: String {
        String((headers["content-type"] ?? "application/json").prefix { $0 != ";" }).lowercased()
    }

    /// The manager of what this request writes: as it says, or else the first part of its User-Agent.
    var fieldManager: String { query["fieldManager"] ?? String(userAgent.prefix { $0 != "/" }.prefix(128)) }

    /// - Throws: 400 for what is no object, 413 over 3 MiB, 415 for encodings but JSON and YAML.
    func object() throws(APIFailure) -> JSONValue {
        guard body.count <= 3 << 20 else {
            throw APIFailure(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
        }
        let types = ["application/json", "application/yaml", "application/apply-patch+yaml"]
        guard types.contains(contentType) || contentType.hasSuffix("+json") else {
            throw .unsupportedMediaType(types)
        }
        if let value = try? JSONValue(parsing: body) { return value }
        if contentType.hasSuffix("yaml"), let node = try? Yams.compose(yaml: String(decoding: body, as: UTF8.self)) {
            return Self.json(node)
        }
        throw .badRequest("the object provided is unrecognized (must be of type JSON or YAML)")
    }

    private static func json(_ node: Node) -> JSONValue {
        switch node {
        case .mapping(let mapping):
            return .object(
                JSONObject(mapping.map { ($0.key.string ?? "", json($0.value)) }, uniquingKeysWith: { _, last in last })
            )
        case .sequence(let sequence): return .array(sequence.map(json))
        default:
            if node.null != nil { return .null }
            if let value = node.bool { return .bool(value) }
            if let value = node.int { return .integer(value) }
            if let value = node.float { return .number(String(value)) }
            return .string(node.string ?? "")
        }
    }
}

package struct APIAnswer: Sendable {
    package enum Body: Sendable {
        case bytes([UInt8])
        case stream(AsyncStream<[UInt8]>)
        /// The connection breaks off before any answer.
        case nothing
    }

    package var code = 200
    package var contentType = "application/json"
    package var headers: [(String, String)] = []
    package var body: Body

    package init(code: Int = 200, contentType: String = "application/json", body: Body) {
        self.code = code
        self.contentType = contentType
        self.body = body
    }

    init(_ object: JSONValue, code: Int = 200) { self.init(code: code, body: .bytes(object.canonicalBytes)) }

    init(_ failure: APIFailure) {
        self.init(failure.status, code: failure.code)
        if let seconds = failure.retryAfter { headers.append(("Retry-After", String(seconds))) }
    }
}

/// What a path asks for ("API concepts", "Resource URIs").
struct Target {
    var type: ResourceType
    var namespace = ""
    var name = ""
    var subresource = ""

    /// - Returns: nil for a path that names no kind.
    init?(_ path: String, among types: [ResourceType]) {
        var parts = path.split(separator: "/").map(String.init)[...]
        let groupVersion: (String, String)
        if parts.first == "api", parts.count >= 3 {
            groupVersion = ("", parts.removeFirst(2))
        } else if parts.first == "apis", parts.count >= 4 {
            groupVersion = (parts[1], parts[2])
            parts = parts.dropFirst(3)
        } else {
            return nil
        }
        func find(_ plural: String) -> ResourceType? {
            types.first { $0.group == groupVersion.0 && $0.version == groupVersion.1 && $0.plural == plural }
        }
        // `/namespaces/N/status` is a namespace's own, `/namespaces/N/pods` what is in it.
        if parts.first == "namespaces", parts.count >= 3, let found = find(parts[parts.startIndex + 2]) {
            guard found.isNamespaced else { return nil }
            type = found
            namespace = parts[parts.startIndex + 1]
            parts = parts.dropFirst(3)
        } else {
            guard let found = parts.first.flatMap(find) else { return nil }
            type = found
            parts = parts.dropFirst()
        }
        name = parts.popFirst() ?? ""
        subresource = parts.popFirst() ?? ""
        guard parts.isEmpty, subresource.isEmpty || type.subresources.contains(subresource) else { return nil }
    }

    var key: ObjectKey { ObjectKey(type, namespace, name) }
}

extension ArraySlice<String> {
    /// Removes the first elements and gives the last of them.
    fileprivate mutating func removeFirst(_ count: Int) -> String {
        let last = self[startIndex + count - 1]
        self = dropFirst(count)
        return last
    }
}
