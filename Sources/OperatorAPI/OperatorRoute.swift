import HTTPServer
import HTTPTypes
import Identity
import Images
import JSON
import OperatorModel
import Rootfs

/// A route of the operators' API, with its description in the OpenAPI document.
struct OperatorRoute: Sendable {
    enum Content: Sendable {
        /// Schemas are made when the document is asked for: making them takes a fifth of the server's start.
        case json(@Sendable () -> Schema)
        /// Bytes, of one of these media types.
        case file([String])
        case nothing

        static func model<Value: Model>(_: Value.Type) -> Content { .json { Value.schema } }
    }

    struct Query: Sendable {
        let name: String
        let schema: @Sendable () -> Schema
        let summary: String
        let isRequired: Bool

        init(
            name: String, schema: @autoclosure @escaping @Sendable () -> Schema, summary: String,
            isRequired: Bool = false
        ) {
            self.name = name
            self.schema = schema
            self.summary = summary
            self.isRequired = isRequired
        }

        static let architecture = Query(
            name: "arch", schema: ArchitectureName.schema, summary: "The architecture; amd64 without it.")
        static let kind = Query(
            name: "kind", schema: KindName.schema,
            summary: "What the root filesystem is for: apps run on it (the default), or builds run in it.")
    }

    let method: HTTPRequest.Method
    let pattern: RoutePattern
    let summary: String
    let queries: [Query]
    /// nil if the route reads no body.
    let body: Content?
    let bodyIsOptional: Bool
    /// The contents of successful answers, by status.
    let answers: [Int: Content]
    /// The statuses of refusals, besides 401 and 403.
    let refusals: [Int]
    let handler: Routes.Handler

    init(
        _ method: HTTPRequest.Method, _ pattern: RoutePattern, _ summary: String,
        queries: [Query] = [], body: Content? = nil, bodyIsOptional: Bool = false,
        answers: [Int: Content], refusals: [Int] = [], _ handler: @escaping Routes.Handler
    ) {
        self.method = method
        self.pattern = pattern
        self.summary = summary
        self.queries = queries
        self.body = body
        self.bodyIsOptional = bodyIsOptional
        self.answers = answers
        self.refusals = refusals
        self.handler = handler
    }

    /// A route that answers with a model.
    init<Answer: Model>(
        _ method: HTTPRequest.Method, _ pattern: RoutePattern, _ summary: String, queries: [Query] = [],
        refusals: [Int] = [], _ handler: @escaping @Sendable (Request) async throws -> Answer
    ) {
        self.init(
            method, pattern, summary, queries: queries, answers: [200: .model(Answer.self)], refusals: refusals
        ) { request in .json(try await handler(request).json) }
    }
}

// MARK: - The document

/// The operators' API in OpenAPI 3.1.
enum OpenAPIDocument {
    static func json(_ routes: [OperatorRoute]) -> JSONValue {
        var paths: [String: JSONObject] = [:]
        for route in routes { paths[route.template, default: [:]][route.method.rawValue.lowercased()] = route.json }
        let components = Schema.merged(routes.flatMap(\.schemas) + [Failure.schema])
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Cistern", "version": "1",
                "description": "Root filesystems, droplets and the store. Times are UTC, sizes are bytes.",
            ],
            "security": [["basic": []]],
            "paths": .object(JSONObject(paths.mapValues { .object($0) })),
            "components": [
                "securitySchemes": ["basic": ["type": "http", "scheme": "basic"]],
                "schemas": .object(components),
                "responses": [
                    "Refusal": [
                        "description": "It is not done, and why.",
                        "content": ["application/json": ["schema": Failure.schema.json]],
                    ]
                ],
            ],
        ]
    }
}

extension OperatorRoute {
    private var parts: [Substring] { pattern.text.split(separator: "/") }

    /// The path in OpenAPI's notation, such as `/api/v1/rootfs/{stack}/{version}`.
    var template: String {
        parts.map { part in part.hasPrefix(":") ? "/{\(part.dropFirst())}" : "/\(part)" }.joined()
    }

    fileprivate var schemas: [Schema] {
        queries.map { $0.schema() }
            + ([body] + Array(answers.values)).compactMap { if case .json(let schema)? = $0 { schema() } else { nil } }
    }

    /// The route's part of the document.
    var json: JSONValue {
        var json: JSONObject = [
            "operationId": .string(identifier), "summary": .string(summary), "responses": .object(responses),
            "security": .array(security),
        ]
        let parameters = pathParameters + queries.map(\.json)
        if !parameters.isEmpty { json["parameters"] = .array(parameters) }
        if let content = body?.json {
            json["requestBody"] = ["required": .bool(!bodyIsOptional), "content": content]
        }
        return .object(json)
    }

    /// The roles, from the table of roles and routes, of which a user needs at least one.
    private var security: [JSONValue] {
        let roles = AccessTable.cistern.access(method.rawValue, pattern.text)?.roles ?? []
        return roles.isEmpty ? [["basic": []]] : roles.map { ["basic": [.string($0.rawValue)]] }
    }

    /// The route's operation id, such as `getRootfsByStackByVersion`.
    private var identifier: String {
        parts.dropFirst(2).reduce(method.rawValue.lowercased()) { name, part in
            let words =
                part.hasPrefix(":") ? ["by", String(part.dropFirst())] : part.split(separator: ".").map(String.init)
            return name + words.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
        }
    }

    private var pathParameters: [JSONValue] {
        parts.filter { $0.hasPrefix(":") }.map { part in
            ["name": .string(String(part.dropFirst())), "in": "path", "required": true, "schema": String.schema.json]
        }
    }

    private var responses: JSONObject {
        var responses: JSONObject = [:]
        for (status, content) in answers {
            var response: JSONObject = ["description": .string(HTTPResponse.Status(code: status).reasonPhrase)]
            if let content = content.json { response["content"] = content }
            responses[String(status)] = .object(response)
        }
        for status in Set([401, 403] + refusals) {
            responses[String(status)] = ["$ref": "#/components/responses/Refusal"]
        }
        return responses
    }
}

extension OperatorRoute.Query {
    fileprivate var json: JSONValue {
        [
            "name": .string(name), "in": "query", "required": .bool(isRequired), "schema": schema().json,
            "description": .string(summary),
        ]
    }
}

extension OperatorRoute.Content {
    fileprivate var json: JSONValue? {
        switch self {
        case .json(let schema): ["application/json": ["schema": schema().json]]
        case .file(let types): .object(JSONObject(types.map { ($0, [:]) }) { first, _ in first })
        case .nothing: nil
        }
    }
}

/// Request parameters that several routes need.
extension Request {
    var user: String { principal?.name ?? "" }

    func stack() throws -> StackName { try StackName(parameters["stack"]) }
    func version() throws -> VersionName { try VersionName(parameters["version"]) }
    func architecture() throws -> Architecture { try Architecture(try query("arch") ?? "amd64") }
    func kind() throws -> RootfsKind {
        guard let text = try query("kind") else { return .run }
        guard let kind = RootfsKind(rawValue: text) else { throw HTTPFailure.query("kind is run or build") }
        return kind
    }

    /// A query parameter that must be present.
    /// - Parameter what: its meaning, for the error message.
    func needed(_ name: String, _ what: String) throws -> String {
        guard let value = try query(name) else { throw HTTPFailure.query("\(name) is missing: \(what)") }
        return value
    }

    /// A query parameter that is `true` or `false`. A missing one is `false`, one without a value is `true`.
    func flag(_ name: String) throws -> Bool {
        switch try query(name) {
        case nil, "false": return false
        case "true", "": return true
        default: throw HTTPFailure.query("\(name) is true or false")
        }
    }

    /// Decodes a small JSON body.
    /// - Parameters:
    ///   - mayBeEmpty: whether a missing body counts as an object without members.
    ///   - maximum: the largest body, in bytes.
    func model<Value: Model>(
        _: Value.Type, mayBeEmpty: Bool = false, maximum: Int64 = 64 << 10
    ) async throws -> Value {
        let bytes = try await body(maximum: maximum).collect()
        do {
            return try Value(request: bytes.isEmpty && mayBeEmpty ? [:] : try JSONValue(parsing: bytes))
        } catch { throw HTTPFailure(.badRequest, "the body can't be taken: \(error)", code: "invalid-body") }
    }
}

extension Response {
    static func model(
        _ model: some Model, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) -> Response { .json(model.json, status: status, headers: headers) }
}

extension HTTPFailure {
    static func query(_ message: String) -> HTTPFailure { HTTPFailure(.badRequest, message, code: "invalid-query") }
}
