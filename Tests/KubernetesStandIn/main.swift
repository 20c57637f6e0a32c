import Foundation
import JSON
import KubernetesTesting

// A stand-in cluster as a program, for clients that are programs too: `kubernetes-stand-in KUBECONFIG [NODE…]` writes a
// kubeconfig, and its clock goes as the wall's. It runs until its input ends.
let arguments = Array(CommandLine.arguments.dropFirst())
guard let path = arguments.first else {
    print("usage: kubernetes-stand-in KUBECONFIG [NODE…]")
    exit(2)
}
let nodes = Array(arguments.dropFirst())
let server = try await StandInServer.start(StandInCluster(nodes: nodes.isEmpty ? ["node-1", "node-2"] : nodes))
let text = await server.kubeconfig()
try text.write(toFile: path, atomically: true, encoding: .utf8)
print(server.url)
fflush(nil)
let cluster = server.cluster
await cluster.run { start in
    let ends = start.isInit || start.pod["spec"]?["restartPolicy"]?.string != "Always"
    return ends ? .exits(0, log: "done\n") : ContainerRun(log: "started\n")
}
await cluster.exec { request, streams in
    streams.output(Array((request.command.joined(separator: " ") + "\n").utf8))
    return request.command.first == "false" ? 1 : 0
}
let ticking = Task.detached {
    while !Task.isCancelled {
        try await Task.sleep(for: .milliseconds(100))
        await cluster.catchUp()
    }
}
while readLine() != nil {}
ticking.cancel()
try await server.stop()
