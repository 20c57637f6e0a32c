import ArgumentParser
import JSON
import Transfer

struct RootfsPrepullCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prepull", abstract: "List what nodes need to have before apps are rolled onto a version.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "The architecture: amd64 or arm64.") var arch = "amd64"

    func run() async throws {
        try await server.ask {
            try await $0.send(.get, name.path + "/prepull?arch=\(arch.urlComponent)")
        } print: {
            text($0)
        }
    }

    private func text(_ answer: JSONValue) -> String {
        func bytes(_ name: String) -> String { byteCount(answer["bytes"]?[name]?.integer ?? 0) }
        let previous = answer["previous"]?.string
        let pull = answer["pull"]?.array?.first
        let reference = printable(pull?["reference"]?.string ?? "")
        let isDelta = answer["form"]?.string == "delta"
        var fields = Fields()
        fields.add("version", "\(name.stack) \(name.version) (\(arch))")
        fields.add(
            "images", isDelta ? "those on \(pull?["version"]?.string ?? "before") and a delta" : "on its own layers")
        fields.add("empty node", "\(bytes("empty")), and each app's droplet")
        if let previous { fields.add("node on \(previous)", bytes("previous")) }
        if pull != nil { fields.add("after a pull", bytes("pulled")) }
        var text = fields.text + "\n"
        if pull?["helpsPrevious"]?.bool == true {
            text += "On each node: crictl pull \(reference)\n"
        } else {
            text +=
                "Nothing to pull ahead on a node that runs the version before: what is new to it comes with each app.\n"
            if pull != nil { text += "On a node that has nothing: crictl pull \(reference)\n" }
        }
        return text
    }
}
