import Foundation
import JSON

/// `pods/log` and `pods/exec`.
extension StandInCluster {
    /// Adds to a container's log.
    public func write(log text: String, namespace: String, pod: String, container: String) {
        guard let uid = find(.pods, namespace, pod)?.uid else { return }
        nodes.pods[uid]?.containers[container]?.log += Array(text.utf8)
        for follower in nodes.followers["\(uid)/\(container)"]?.values ?? [:].values {
            follower.yield(Array(text.utf8))
        }
    }

    func closeLog(_ uid: String, _ container: String) {
        for follower in nodes.followers.removeValue(forKey: "\(uid)/\(container)")?.values ?? [:].values {
            follower.finish()
        }
    }

    /// - Throws: 400 where a container is not named, or has not started.
    func log(_ target: Target, _ request: APIRequest) throws(APIFailure) -> APIAnswer {
        guard let pod = find(.pods, target.namespace, target.name) else { throw .notFound(.pods, target.name) }
        let name = try container(of: pod, asked: request.query["container"])
        guard let state = nodes.pods[pod.uid]?.containers[name], !state.id.isEmpty else {
            let reason = pod.at("status", "containerStatuses")?.array?.first { $0["name"]?.string == name }?.at(
                "state", "waiting", "reason")?.string
            throw .badRequest(
                "container \"\(name)\" in pod \"\(target.name)\" is waiting to start: \(reason ?? "ContainerCreating")")
        }
        var bytes = state.log
        if let lines = request.query["tailLines"].flatMap({ Int($0) }) {
            bytes = Array(
                bytes.split(separator: 10, omittingEmptySubsequences: true).suffix(max(0, lines)).flatMap { $0 + [10] })
        }
        if let limit = request.query["limitBytes"].flatMap({ Int($0) }) { bytes = Array(bytes.prefix(max(0, limit))) }
        guard request.flag("follow"), state.isRunning else {
            return APIAnswer(contentType: "text/plain", body: .bytes(bytes))
        }
        let (stream, output) = AsyncStream<[UInt8]>.makeStream(bufferingPolicy: .bufferingOldest(10_000))
        if !bytes.isEmpty { output.yield(bytes) }
        let (id, place) = (count(), "\(pod.uid)/\(name)")
        nodes.followers[place, default: [:]][id] = output
        output.onTermination = { [weak self] _ in
            Task { await self?.unfollow(place, id) }
        }
        return APIAnswer(contentType: "text/plain", body: .stream(stream))
    }

    private func unfollow(_ place: String, _ id: Int) { nodes.followers[place]?[id] = nil }

    private func container(of pod: JSONValue, asked: String?) throws(APIFailure) -> String {
        let main = (pod.at("spec", "containers")?.array ?? []).compactMap { $0["name"]?.string }
        let inits = (pod.at("spec", "initContainers")?.array ?? []).compactMap { $0["name"]?.string }
        if let asked {
            guard (main + inits).contains(asked) else {
                throw .badRequest("container \(asked) is not valid for pod \(pod.name)")
            }
            return asked
        }
        guard main.count == 1, let only = main.first else {
            throw .badRequest("a container name must be specified for pod \(pod.name), choose one of: \(main)")
        }
        return only
    }

    /// - Returns: nil for a request that is answered with an error.
    func execRequest(_ request: APIRequest) async -> ExecRequest? {
        guard let target = Target(request.path, among: types), target.subresource == "exec",
            let user = try? authenticate(request), let pod = find(.pods, target.namespace, target.name),
            let name = try? container(of: pod, asked: request.query["container"]),
            nodes.pods[pod.uid]?.containers[name]?.isRunning == true
        else { return nil }
        // Either verb: clients with WebSocket send GET, which needs `create` from 1.35 on.
        let right = Right(verb: "create", group: "", resource: "pods/exec", name: target.name)
        guard (try? authorize(user, right, target)) != nil else { return nil }
        let command = (request.query["command"] ?? "").split(separator: "\0", omittingEmptySubsequences: false).map(
            String.init)
        return ExecRequest(
            namespace: target.namespace, pod: target.name, container: name, command: command,
            isTerminal: request.flag("tty"))
    }

    /// - Returns: the Status that the error channel carries ("v4.channel.k8s.io").
    func exec(_ request: APIRequest, _ streams: ExecStreams) async -> JSONValue {
        guard let asked = await execRequest(request), let handler = nodes.exec else {
            return APIFailure.internalError("nothing runs here").status
        }
        let code = await handler(asked, streams)
        guard code != 0 else { return ["metadata": [:], "status": "Success"] }
        return [
            "metadata": [:], "status": "Failure", "reason": "NonZeroExitCode",
            "message": .string("command terminated with non-zero exit code"),
            "details": ["causes": [["reason": "ExitCode", "message": .string(String(code))]]],
        ]
    }
}
