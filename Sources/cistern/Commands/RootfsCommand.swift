import ArgumentParser
import JSON
import Transfer

struct RootfsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rootfs", abstract: "Root filesystems: bring them in, look at them, make one current.",
        subcommands: [
            Import.self, List.self, RootfsShowCommand.self, RootfsPromoteCommand.self, RootfsRollbackCommand.self,
            RootfsDeltaCommand.self, RootfsDiffCommand.self, RootfsPackagesCommand.self, RootfsPrepullCommand.self,
            RootfsDeprecateCommand.self, RootfsBlockCommand.self,
            RootfsAllowCommand.self, RootfsExportCommand.self, RootfsRemoveCommand.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List stacks, or the versions of one.")

        @OptionGroup var server: ServerOptions
        @Option(help: "Only this stack.") var stack: String?

        func run() async throws {
            let path = stack.map { "/api/v1/rootfs/\($0.urlComponent)" } ?? "/api/v1/rootfs"
            try await server.ask {
                try await $0.send(.get, path)
            } print: { answer in
                var table = Table(["STACK", "VERSION", "ARCH", "CURRENT", "STATE", "SIZE", "SYSTEM", "IMPORTED", "BY"])
                for version in answer["versions"]?.array ?? [] {
                    table.add(
                        [
                            version["stack"]?.string ?? "", version["version"]?.string ?? "",
                            version["architecture"]?.string ?? "", version["current"]?.bool == true ? "*" : "",
                            version["state"]?.string ?? "",
                            byteCount(version["size"]?.integer ?? 0), version["system"]?.string ?? "",
                            version["imported"]?.string ?? "", version["importedBy"]?.string ?? "",
                        ])
                }
                return table.text
            }
        }
    }
}
