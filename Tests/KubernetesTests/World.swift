import JSON
import Logging
import Synchronization
import TestSupport

@testable import Kubernetes

/// The pauses that a client would have made, in order.
final class Pauses: Sendable {
    private let list = Mutex<[Duration]>([])
    var all: [Duration] { list.withLock { $0 } }
    func add(_ pause: Duration) { list.withLock { $0.append(pause) } }
}

let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Gives a client of a scripted server to a body. It makes no pauses, but notes them.
@discardableResult
func withClient<Value: Sendable>(
    limits: KubernetesClient.Limits = KubernetesClient.Limits(), token: String? = "secret-token",
    pauses: Pauses = Pauses(), _ handler: @escaping ScriptedServer.Handler,
    _ body: (KubernetesClient, ScriptedServer) async throws -> Value
) async throws -> Value {
    try await ScriptedServer.with(handler) { server in
        let connection = try ClusterConnection(url: "http://\(server.address)", token: token)
        return try await withClient(connection, limits: limits, pauses: pauses) { try await body($0, server) }
    }
}

@discardableResult
func withClient<Value: Sendable>(
    _ connection: ClusterConnection, limits: KubernetesClient.Limits = KubernetesClient.Limits(),
    pauses: Pauses = Pauses(), now: (@Sendable () -> Int64)? = nil, environment: [String: String] = [:],
    _ body: (KubernetesClient) async throws -> Value
) async throws -> Value {
    var timing = KubernetesClient.Timing()
    if let now { timing.now = now }
    timing.pause = { duration in
        pauses.add(duration)
        // Not at once, so that what is asked again and again does not take a whole processor.
        try await Task.sleep(for: .milliseconds(1))
    }
    return try await KubernetesClient.with(
        connection, limits: limits, environment: environment, logger: silent, timing: timing, body)
}

extension ScriptedServer.Connection {
    func json(_ value: JSONValue, _ headers: [String] = []) { json(200, value, headers) }

    func json(_ status: Int, _ value: JSONValue, _ headers: [String] = []) {
        answer(status, ["Content-Type: application/json"] + headers, value.canonicalBytes)
    }

    func status(_ code: Int, _ reason: String, _ message: String = "", _ headers: [String] = []) {
        json(
            code,
            [
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": .integer(code),
                "reason": .string(reason), "message": .string(message),
            ], headers)
    }

    /// Sends a piece of a chunked answer.
    func chunk(_ text: String) { send(Array("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n".utf8)) }
    func endChunks() { send(Array("0\r\n\r\n".utf8)) }
}

extension ScriptedServer.Request {
    var path: String { String(target.prefix { $0 != "?" }) }
    var query: [String: String] {
        let parts = target.split(separator: "?", maxSplits: 1)
        guard parts.count > 1 else { return [:] }
        let pairs = parts[1].split(separator: "&").map { pair in
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            return (halves[0], halves.count > 1 ? halves[1] : "")
        }
        return Dictionary(pairs) { _, last in last }
    }
    var json: JSONValue? { try? JSONValue(parsing: body) }
}

func pod(_ name: String, version: Int, uid: String = "u") -> JSONValue {
    [
        "apiVersion": "v1", "kind": "Pod",
        "metadata": [
            "name": .string(name), "namespace": "apps", "uid": .string(uid),
            "resourceVersion": .string(String(version)),
        ],
        "spec": ["unknown": ["kept": true]],
    ]
}

func list(_ items: [JSONValue], version: Int, next: String? = nil) -> JSONValue {
    var metadata: JSONObject = ["resourceVersion": .string(String(version))]
    if let next { metadata["continue"] = .string(next) }
    return ["kind": "PodList", "apiVersion": "v1", "metadata": .object(metadata), "items": .array(items)]
}

func event(_ type: String, _ object: JSONValue) -> String {
    (["type": .string(type), "object": object] as JSONValue).canonicalText + "\n"
}

/// What an error is, where any other or none fails the test.
func kubernetesError(_ body: () async throws -> Void) async throws -> KubernetesError? {
    do {
        try await body()
        return nil
    } catch let error as KubernetesError {
        return error
    }
}
