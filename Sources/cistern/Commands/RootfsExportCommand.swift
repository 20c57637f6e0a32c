import ArgumentParser
import JSON
import Transfer

struct RootfsExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a version's layer into a file that can be imported again.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "The architecture: amd64 or arm64.") var arch = "amd64"
    @Argument(help: "The file, which must not be there yet.") var file: String

    func run() async throws {
        let path = name.path + "/export?arch=\(arch.urlComponent)"
        let bar = ProgressBar("exporting \(name.version)", total: 1)
        try await server.ask { client in
            defer { bar.clear() }
            let written = try await client.download(path, to: file) { bar.note(byteCount($0)) }
            return ["file": .string(file), "size": .integer(written.size), "digest": .string(written.digest)]
        } print: { answer in
            "wrote \(file), \(byteCount(answer["size"]?.integer ?? 0)), \(answer["digest"]?.string ?? "")\n"
        }
    }
}
