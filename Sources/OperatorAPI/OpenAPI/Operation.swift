import HTTPTypes
import JSON
import Service

/// A route as the OpenAPI document tells it.
///
/// Each route below `/api/v1/` has one in `Operation.all`, and a test compares the two: whoever adds a route adds a row.
struct Operation: Sendable {
    enum Content: Sendable {
        case json(Schema)
        /// Bytes, of one of these media types.
        case file([String])
        case nothing
    }

    struct Query: Sendable {
        let name: String
        let schema: Schema
        let summary: String
        var isRequired = false
    }

    let method: HTTPRequest.Method
    /// As the route's pattern.
    let path: String
    let summary: String
    var queries: [Query] = []
    /// nil: none is read.
    var body: Content?
    var bodyIsOptional = false
    /// What it says by status, where it does what it was asked for.
    let answers: [Int: Content]
    /// Of refusals, besides 401 and 403.
    var refusals: [Int] = []

    init(
        _ method: HTTPRequest.Method, _ path: String, _ summary: String, queries: [Query] = [],
        body: Content? = nil, bodyIsOptional: Bool = false, answers: [Int: Content], refusals: [Int] = []
    ) {
        self.method = method
        self.path = path
        self.summary = summary
        self.queries = queries
        self.body = body
        self.bodyIsOptional = bodyIsOptional
        self.answers = answers
        self.refusals = refusals
    }

    /// `query` of an architecture.
    static let architecture = Query(
        name: "arch", schema: .words("amd64", "arm64"), summary: "The architecture; amd64 without it.")
}

extension Operation {
    /// `/api/v1/rootfs/{stack}/{version}`
    var template: String {
        path.split(separator: "/").map { part in part.hasPrefix(":") ? "/{\(part.dropFirst())}" : "/\(part)" }.joined()
    }

    /// The document's own, without what all have.
    var json: JSONValue {
        var json: [String: JSONValue] = [
            "operationId": .string(identifier), "summary": .string(summary), "responses": .object(responses),
        ]
        let parameters = pathParameters + queries.map(\.json)
        if !parameters.isEmpty { json["parameters"] = .array(parameters) }
        if let content = body?.json {
            json["requestBody"] = ["required": .bool(!bodyIsOptional), "content": content]
        }
        return .object(json)
    }

    /// `getRootfsByStackByVersion`
    private var identifier: String {
        path.split(separator: "/").dropFirst(2).reduce(method.rawValue.lowercased()) { name, part in
            let words =
                part.hasPrefix(":") ? ["by", String(part.dropFirst())] : part.split(separator: ".").map(String.init)
            return name + words.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
        }
    }

    private var pathParameters: [JSONValue] {
        path.split(separator: "/").filter { $0.hasPrefix(":") }.map { part in
            [
                "name": .string(String(part.dropFirst())), "in": "path", "required": true,
                "schema": Schema.string.json,
            ]
        }
    }

    private var responses: [String: JSONValue] {
        var responses: [String: JSONValue] = [:]
        for (status, content) in answers {
            var response: [String: JSONValue] = ["description": .string(HTTPResponse.Status(code: status).reasonPhrase)]
            if let content = content.json { response["content"] = content }
            responses[String(status)] = .object(response)
        }
        for status in Set([401, 403] + refusals) {
            responses[String(status)] = ["$ref": "#/components/responses/Refusal"]
        }
        return responses
    }
}

extension Operation.Query {
    fileprivate var json: JSONValue {
        [
            "name": .string(name), "in": "query", "required": .bool(isRequired), "schema": schema.json,
            "description": .string(summary),
        ]
    }
}

extension Operation.Content {
    fileprivate var json: JSONValue? {
        switch self {
        case .json(let schema): ["application/json": ["schema": schema.json]]
        case .file(let types): .object(Dictionary(uniqueKeysWithValues: types.map { ($0, [:]) }))
        case .nothing: nil
        }
    }
}
