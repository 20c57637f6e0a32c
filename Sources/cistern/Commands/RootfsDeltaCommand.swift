import ArgumentParser
import JSON
import Transfer

struct RootfsDeltaCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delta",
        abstract: "Compute and check the layer that turns one version into another, for nodes that have the old one.")

    @OptionGroup var server: ServerOptions
    @Option(help: "The stack.") var stack: String
    @Option(help: "The architecture: amd64 or arm64.") var arch = "amd64"
    @Flag(help: "Leave files as they are that differ in their modification time alone.") var ignoreTimes = false
    @Argument(help: "The version that nodes have.") var old: String
    @Argument(help: "The version that they get.") var new: String

    func run() async throws {
        var path = "/api/v1/rootfs/\(stack.urlComponent)/\(new.urlComponent)/delta"
        path += "?from=\(old.urlComponent)&arch=\(arch.urlComponent)"
        if ignoreTimes { path += "&times=ignored" }
        try await server.ask { [path] client in
            try await client.send(.post, path)
        } print: { answer in
            var fields = Fields()
            let size = answer["layer"]?["size"]?.integer ?? 0
            let whole = answer["rootfsSize"]?.integer ?? 0
            fields.add("delta", "\(old) to \(new) of \(stack) (\(arch))")
            fields.add("size", "\(byteCount(size)), \(byteCount(answer["uncompressedSize"]?.integer ?? 0)) unpacked")
            fields.add("share", "\(answer["sharePercent"]?.string ?? "") % of \(byteCount(whole)), the whole of \(new)")
            fields.add("changed", "\(answer["changed"]?.integer ?? 0) names")
            fields.add("gone", "\(answer["gone"]?.integer ?? 0) names")
            fields.add("digest", answer["layer"]?["digest"]?.string)
            return fields.text
        }
    }
}
