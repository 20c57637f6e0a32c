import Foundation
import JSON
import KubernetesTesting

// A stand-in cluster as a program, for clients that are programs too. It writes a kubeconfig and its address, its clock
// goes as the wall's, containers echo what `exec` asks of them, and it runs until its input ends.
let usage = "usage: kubernetes-stand-in KUBECONFIG [--statefulsets NUMBER] [NODE…]"
var arguments = Array(CommandLine.arguments.dropFirst())
var count = 0
if let index = arguments.firstIndex(of: "--statefulsets"), index + 1 < arguments.count {
    count = Int(arguments[index + 1]) ?? 0
    arguments.removeSubrange(index...index + 1)
}
guard let path = arguments.first else {
    print(usage)
    exit(2)
}
let nodes = Array(arguments.dropFirst())
let cluster = StandInCluster(nodes: nodes.isEmpty ? ["node-1", "node-2"] : nodes)
let server = try await StandInServer.start(cluster)
await cluster.run { start in
    let ends = start.isInit || start.pod["spec"]?["restartPolicy"]?.string != "Always"
    return ends ? .exits(0, log: "done\n") : ContainerRun(log: "started\n")
}
await cluster.exec { request, streams in
    streams.output(Array((request.command.joined(separator: " ") + "\n").utf8))
    return request.command.first == "false" ? 1 : 0
}
await cluster.seed(
    .statefulSets,
    (0..<count).map { number in
        let name = JSONValue.string("app-\(number)")
        return [
            "metadata": ["name": name, "namespace": "default", "labels": ["app": name]],
            "spec": [
                "replicas": 1, "serviceName": name, "selector": ["matchLabels": ["app": name]],
                "template": [
                    "metadata": ["labels": ["app": name]],
                    "spec": ["containers": [["name": "app", "image": "registry.test/cloudfoundry/app:1"]]],
                ],
            ],
        ]
    })
let text = await server.kubeconfig()
try text.write(toFile: path, atomically: true, encoding: .utf8)
print(server.url)
fflush(nil)
let ticking = Task.detached {
    while !Task.isCancelled {
        try await Task.sleep(for: .milliseconds(100))
        await cluster.catchUp()
    }
}
while readLine() != nil {}
ticking.cancel()
try await server.stop()
