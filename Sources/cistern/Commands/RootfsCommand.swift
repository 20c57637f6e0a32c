import ArgumentParser
import Images
import JSON
import OCI
import Transfer

struct RootfsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rootfs", abstract: "Root filesystems: bring them in, look at them, make one current.",
        subcommands: [
            Import.self, List.self, RootfsShowCommand.self, RootfsPromoteCommand.self, RootfsRollbackCommand.self,
            RootfsDeltaCommand.self, RootfsDiffCommand.self, RootfsPackagesCommand.self, RootfsPrepullCommand.self, RootfsDeprecateCommand.self, RootfsBlockCommand.self,
            RootfsAllowCommand.self, RootfsExportCommand.self, RootfsRemoveCommand.self,
        ])

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Bring in a root filesystem from a tar archive.")

        @OptionGroup var server: ServerOptions
        @Option(help: "The stack it belongs to.") var stack: String
        @Option(help: "The new version's name.") var version: String
        @Option(help: "The SHA-256 that the file must have.") var sha256: String?
        @Option(help: "Its architecture: amd64 or arm64.") var arch = "amd64"
        @Option(help: "The shell that apps are started with.") var shell: String?
        @Flag(help: "Make it the stack's current version.") var promote = false
        @Argument(help: "A tar archive, plain, gzip or zstd.") var file: String

        func validate() throws {
            guard (try? StackName(stack)) != nil, (try? VersionName(version)) != nil else {
                throw ValidationError(
                    """
                    '\(printable(stack))' and '\(printable(version))' can't be a stack and a version: they take at most \
                    63 letters, digits, '.', '_' and '-', and no version is called 'current'.
                    """)
            }
        }

        func run() async throws {
            let file = try UploadFile(path: file)
            let digest = try file.digest(.sha256)
            if let sha256, sha256.lowercased() != digest.hex {
                throw TransferError.file(
                    path: file.path, reason: "its SHA-256 is \(digest.hex), not the one given: fetch it again")
            }
            var path = "/api/v1/rootfs/\(stack.urlComponent)/\(version.urlComponent)"
            path += "?arch=\(arch.urlComponent)&sha256=\(digest.hex)"
            if let shell { path += "&shell=\(shell.urlComponent)" }
            if promote { path += "&promote=true" }
            let bar = ProgressBar("importing \(version)", total: file.size)
            try await server.ask { [path] client in
                defer { bar.clear() }
                return try await client.upload(file, to: path) { bar.show($0) }
            } print: { answer in
                "imported \(stack) \(version) (\(arch)), \(byteCount(file.size)), sha256 \(digest.hex)\n"
                    + (answer["current"]?.bool == true
                        ? "it is the current version of \(stack)\n"
                        : "next: cistern rootfs promote --stack \(stack) --version \(version)\n")
            }
        }
    }

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
