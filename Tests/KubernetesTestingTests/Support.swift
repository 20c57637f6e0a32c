import JSON

@testable import KubernetesTesting

/// A client of the stand-in without a network between: what a request is answered with.
struct Client {
    let cluster: StandInCluster
    var token = "admin-token"

    init(_ cluster: StandInCluster) async {
        self.cluster = cluster
        await cluster.add(.admin, token: token)
    }

    struct Answer {
        let code: Int
        let json: JSONValue
        let stream: AsyncStream<[UInt8]>?
        var reason: String { json["reason"]?.string ?? "" }
    }

    func send(
        _ method: String, _ target: String, _ body: JSONValue? = nil, type: String = "application/json"
    ) async -> Answer {
        let answer = await cluster.handle(
            APIRequest(
                method: method, target: target,
                headers: ["authorization": "Bearer \(token)", "content-type": type, "user-agent": "tests/1"],
                body: body?.canonicalBytes ?? []))
        switch answer.body {
        case .bytes(let bytes):
            return Answer(code: answer.code, json: (try? JSONValue(parsing: bytes)) ?? .null, stream: nil)
        case .stream(let stream): return Answer(code: answer.code, json: .null, stream: stream)
        case .nothing: return Answer(code: 0, json: .null, stream: nil)
        }
    }

    func get(_ target: String) async -> Answer { await send("GET", target) }
    func post(_ target: String, _ body: JSONValue) async -> Answer { await send("POST", target, body) }
    func delete(_ target: String, _ options: JSONValue? = nil) async -> Answer {
        await send("DELETE", target, options)
    }
    func patch(_ target: String, _ body: JSONValue, _ kind: String = "merge-patch+json") async -> Answer {
        await send("PATCH", target, body, type: "application/\(kind)")
    }
}

/// The events of a watch's stream as they stand in it.
func events(_ stream: AsyncStream<[UInt8]>?, _ count: Int) async throws -> [JSONValue] {
    var events: [JSONValue] = []
    guard let stream, count > 0 else { return [] }
    for await line in stream {
        events.append(try JSONValue(parsing: line.dropLast()))
        if events.count == count { break }
    }
    return events
}

let maps = "/api/v1/namespaces/default/configmaps"
let podsPath = "/api/v1/namespaces/default/pods"
let sets = "/apis/apps/v1/namespaces/default/statefulsets"

func map(_ name: String, _ data: [String: String] = [:], labels: [String: String] = [:]) -> JSONValue {
    [
        "kind": "ConfigMap", "apiVersion": "v1", "metadata": ["name": .string(name), "labels": .strings(labels)],
        "data": .strings(data),
    ]
}

func pod(_ name: String, policy: String = "Always", _ change: (inout JSONValue) -> Void = { _ in }) -> JSONValue {
    var pod: JSONValue = [
        "kind": "Pod", "apiVersion": "v1", "metadata": ["name": .string(name), "labels": ["app": .string(name)]],
        "spec": [
            "restartPolicy": .string(policy),
            "containers": [["name": "app", "image": "registry.test/app:1"]],
        ],
    ]
    change(&pod)
    return pod
}

func workload(_ kind: String, _ name: String, replicas: Int, image: String = "registry.test/app:1") -> JSONValue {
    [
        "kind": .string(kind), "apiVersion": "apps/v1", "metadata": ["name": .string(name)],
        "spec": [
            "replicas": .integer(replicas), "selector": ["matchLabels": ["app": .string(name)]],
            "serviceName": .string(name),
            "template": [
                "metadata": ["labels": ["app": .string(name)]],
                "spec": ["containers": [["name": "app", "image": .string(image)]]],
            ],
        ],
    ]
}

func job(_ name: String, _ change: (inout JSONValue) -> Void = { _ in }) -> JSONValue {
    var job: JSONValue = [
        "kind": "Job", "apiVersion": "batch/v1", "metadata": ["name": .string(name)],
        "spec": [
            "backoffLimit": 0,
            "template": [
                "spec": [
                    "restartPolicy": "Never", "initContainers": [["name": "build", "image": "registry.test/b:1"]],
                    "containers": [["name": "upload", "image": "registry.test/b:1"]],
                ]
            ],
        ],
    ]
    change(&job)
    return job
}
