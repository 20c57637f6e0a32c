import HTTPTypes
import JSON
import Service

/// The operators' API in OpenAPI 3.1.
enum OpenAPIDocument {
    static func json(_ operations: [Operation]) -> JSONValue {
        var paths: [String: [String: JSONValue]] = [:]
        for operation in operations {
            paths[operation.template, default: [:]][operation.method.rawValue.lowercased()] = operation.json
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Cistern", "version": "1",
                "description": "Root filesystems, droplets and the store. Times are UTC, sizes are bytes.",
            ],
            "security": [["basic": []]],
            "paths": .object(paths.mapValues { .object($0) }),
            "components": [
                "securitySchemes": ["basic": ["type": "http", "scheme": "basic"]],
                "schemas": .object(Schema.components.mapValues(\.json)),
                "responses": [
                    "Refusal": [
                        "description": "It is not done, and why.",
                        "content": ["application/json": ["schema": Schema.named("Failure").json]],
                    ]
                ],
            ],
        ]
    }
}

extension OperatorAPI {
    func addDocumentRoute(to routes: inout Routes) {
        let document = OpenAPIDocument.json(Operation.all).canonicalBytes
        routes.get("/api/v1/openapi.json", access: .authenticated) { _ in
            .bytes(document, contentType: "application/json")
        }
    }
}
