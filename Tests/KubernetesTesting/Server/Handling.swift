import Foundation
import JSON

extension StandInCluster {
    /// Answers one request, as the API server does, or fails in the way that a test asked for.
    package func handle(_ request: APIRequest) async -> APIAnswer {
        prepare()
        do throws(APIFailure) {
            let user = try authenticate(request)
            guard let target = Target(request.path, among: types) else { return try discovery(request.path) }
            let verb = try Self.verb(request, target)
            let resource =
                target.type.plural + (target.subresource.isEmpty ? "" : "/" + target.subresource)
            let right = Right(verb: verb, group: target.type.group, resource: resource, name: target.name)
            try authorize(user, right, target)
            var losesAnswer = false
            switch faults.next(verb, resource) {
            case .answer(let code, let retryAfter): throw Self.injected(code, retryAfter)
            case .loseRequest: return APIAnswer(body: .nothing)
            case .loseAnswer: losesAnswer = true
            case .wait(let until): await until()
            case nil: break
            }
            let answer: APIAnswer
            do throws(APIFailure) {
                answer = try await carryOut(verb, target, request, by: user)
            } catch {
                answer = APIAnswer(error)
            }
            kick()
            return losesAnswer ? APIAnswer(body: .nothing) : answer
        } catch {
            return APIAnswer(error)
        }
    }

    private static func injected(_ code: Int, _ retryAfter: Int?) -> APIFailure {
        switch code {
        case 429: .tooManyRequests("Too many requests, please try again later.", retryAfter: retryAfter ?? 1)
        case 500: .internalError("etcdserver: request timed out")
        case 504: APIFailure(504, "Timeout", "Timeout: request did not complete within the allotted timeout")
        default:
            APIFailure(
                code, "ServiceUnavailable", "the server is currently unable to handle the request",
                retryAfter: retryAfter)
        }
    }

    /// The verb that authorization knows a request by ("Authorization Overview", "Request verbs").
    private static func verb(_ request: APIRequest, _ target: Target) throws(APIFailure) -> String {
        switch request.method {
        case "GET", "HEAD":
            if target.subresource == "exec" { return "create" }
            if !target.name.isEmpty { return request.flag("watch") && target.subresource.isEmpty ? "watch" : "get" }
            return request.flag("watch") ? "watch" : "list"
        case "POST": return "create"
        case "PUT": return "update"
        case "PATCH": return "patch"
        case "DELETE": return target.name.isEmpty ? "deletecollection" : "delete"
        default: throw .methodNotAllowed(request.method)
        }
    }

    private func carryOut(_ verb: String, _ target: Target, _ request: APIRequest, by user: User)
        async throws(APIFailure) -> APIAnswer
    {
        var target = target
        switch (verb, target.subresource) {
        case ("get", "log"): return try log(target, request)
        case ("get", ""), ("get", "status"):
            guard let stored = storage.get(target.key) else { throw .notFound(target.type, target.name) }
            let form = ObjectForm(accept: request.headers["accept"] ?? "")
            return APIAnswer(body: .bytes(form.bytes(of: stored)))
        case ("get", "scale"):
            guard let stored = storage.get(target.key) else { throw .notFound(target.type, target.name) }
            return APIAnswer(Self.scale(of: stored.object))
        case ("list", _): return try list(target, request)
        case ("watch", _): return try watch(target, request)
        case ("create", ""):
            let body = try request.object()
            if ResourceType.reviews.contains(target.type) {
                return APIAnswer(review(target, body, by: user), code: 201)
            }
            let object = try await create(body, target, WriteOptions(request), by: user)
            return APIAnswer(object, code: 201)
        case ("create", "token"): return APIAnswer(try tokenRequest(target, request.object()), code: 201)
        case ("create", "binding"):
            let node = try request.object().at("target", "name")?.string ?? ""
            guard let pod = find(.pods, target.namespace, target.name) else { throw .notFound(.pods, target.name) }
            guard pod.at("spec", "nodeName") == nil else {
                throw .conflict(.pods, target.name, "pod \(target.name) is already assigned to node")
            }
            bind(target.key, to: node)
            return APIAnswer(APIFailure.success(details: nil), code: 201)
        case ("create", "eviction"):
            let body = try request.object()
            return APIAnswer(try evict(target, DeleteOptions(body["deleteOptions"] ?? [:], request)), code: 201)
        case ("update", _), ("patch", _):
            return try await write(verb, target, request, by: user)
        case ("delete", ""):
            let options = try DeleteOptions(request.body.isEmpty ? [:] : request.object(), request)
            return APIAnswer(try delete(target.key, target.type, options))
        case ("deletecollection", ""):
            let options = try DeleteOptions(request.body.isEmpty ? [:] : request.object(), request)
            let selector = try Selector(
                labelSelector: request.query["labelSelector"] ?? "",
                fieldSelector: request.query["fieldSelector"] ?? "", of: target.type)
            var items: [JSONValue] = []
            for (key, stored) in storage.list(target.type, at: storage.revision) ?? []
            where (target.namespace.isEmpty || key.namespace == target.namespace) && selector.matches(stored.object) {
                target.name = key.name
                items.append(stored.object)
                _ = try delete(key, target.type, options)
            }
            return APIAnswer([
                "kind": .string(target.type.kind + "List"), "apiVersion": .string(target.type.groupVersion),
                "metadata": ["resourceVersion": .string(String(storage.revision))], "items": .array(items),
            ])
        default: throw .methodNotAllowed(request.method)
        }
    }

    private func tokenRequest(_ target: Target, _ body: JSONValue) throws(APIFailure) -> JSONValue {
        let audiences = body.at("spec", "audiences")?.array?.compactMap(\.string) ?? []
        let seconds = body.at("spec", "expirationSeconds")?.int ?? 3600
        guard seconds >= 600 else {
            throw .invalid(
                target.type, target.name,
                [
                    (
                        "spec.expirationSeconds",
                        "Invalid value: \(seconds): may not specify a duration less than 10 minutes"
                    )
                ])
        }
        let pod = body.at("spec", "boundObjectRef", "name")?.string.flatMap { find(.pods, target.namespace, $0) }
        guard
            let made = serviceAccountToken(
                namespace: target.namespace, name: target.name, audiences: audiences, seconds: seconds, pod: pod)
        else { throw .notFound(target.type, target.name) }
        var answer = body
        answer.set(
            [
                "token": .string(made.token),
                "expirationTimestamp": .string(VirtualClock.timestamp(made.expires)),
            ], "status")
        return answer
    }

    static func scale(of object: JSONValue) -> JSONValue {
        [
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": object["metadata"] ?? [:],
            "spec": ["replicas": object.at("spec", "replicas") ?? 0],
            "status": ["replicas": object.at("status", "replicas") ?? 0],
        ]
    }

    private func discovery(_ path: String) throws(APIFailure) -> APIAnswer {
        let discovery = Discovery(types: types)
        let parts = path.split(separator: "/").map(String.init)
        let found: JSONValue? =
            switch (parts.first, parts.count) {
            case ("version", 1):
                [
                    "major": "1", "minor": "36", "gitVersion": "v1.36.2", "gitCommit": "", "gitTreeState": "clean",
                    "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
                ]
            case ("api", 1): discovery.versions
            case ("api", 2): discovery.resources(of: parts[1])
            case ("apis", 1): discovery.groups
            case ("apis", 2): discovery.group(named: parts[1])
            case ("apis", 3): discovery.resources(of: parts[1] + "/" + parts[2])
            case ("openapi", 2) where parts[1] == "v3": discovery.schemas
            case ("openapi", 4...) where parts[1] == "v3":
                discovery.schema(of: parts[2] == "api" ? parts[3] : parts.dropFirst(3).joined(separator: "/"))
            case ("openid", 3): access.keys
            case (".well-known", 2):
                [
                    "issuer": .string(access.audience), "jwks_uri": .string(access.audience + "/openid/v1/jwks"),
                    "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                ]
            default: nil
            }
        if ["healthz", "readyz", "livez"].contains(parts.first) {
            return APIAnswer(contentType: "text/plain", body: .bytes(Array("ok".utf8)))
        }
        guard let found else { throw .pathNotFound }
        return APIAnswer(found)
    }
}

/// The query parameters of writes.
struct WriteOptions {
    var isDryRun = false
    var manager: String
    var isStrict = false
    /// Who owns what of an object that is made by an apply; nil for the one manager.
    var managedFields: JSONValue?

    init(manager: String) { self.manager = manager }

    init(_ request: APIRequest) throws(APIFailure) {
        manager = request.fieldManager
        isStrict = request.query["fieldValidation"] == "Strict"
        if let dryRun = request.query["dryRun"] {
            guard dryRun == "All" else {
                throw APIFailure(
                    422, "Invalid", "dryRun: Unsupported value: \"\(dryRun)\": supported values: \"All\"")
            }
            isDryRun = true
        }
    }
}
