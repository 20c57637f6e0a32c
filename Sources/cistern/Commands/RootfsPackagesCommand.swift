import ArgumentParser
import JSON
import Transfer

struct RootfsPackagesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "packages", abstract: "List the packages of a version.")

    @OptionGroup var server: ServerOptions
    @Option(help: "The stack.") var stack: String
    @Option(help: "The architecture: amd64 or arm64.") var arch = "amd64"
    @Argument(help: "The version.") var version: String

    func run() async throws {
        let path =
            "/api/v1/rootfs/\(stack.urlComponent)/\(version.urlComponent)/packages?arch=\(arch.urlComponent)"
        try await server.ask {
            try await $0.send(.get, path)
        } print: { answer in
            var table = Table(["PACKAGE", "VERSION", "ARCH", "SOURCE"])
            for package in answer["packages"]?.array ?? [] {
                table.add(["name", "version", "architecture", "source"].map { package[$0]?.string ?? "" })
            }
            return table.text + gaps(answer["complete"]?.bool == true && answer["skipped"]?.integer == 0)
        }
    }
}

struct RootfsDiffCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Show which packages one version has that another has not, or otherwise.")

    @OptionGroup var server: ServerOptions
    @Option(help: "The stack.") var stack: String
    @Option(help: "The architecture: amd64 or arm64.") var arch = "amd64"
    @Argument(help: "The version to compare with.") var old: String
    @Argument(help: "The version to look at.") var new: String

    func run() async throws {
        var path = "/api/v1/rootfs/\(stack.urlComponent)/\(new.urlComponent)/diff"
        path += "?from=\(old.urlComponent)&arch=\(arch.urlComponent)"
        try await server.ask { [path] client in
            try await client.send(.get, path)
        } print: { answer in
            var table = Table(["CHANGE", "PACKAGE", "ARCH", old, new])
            func add(_ kind: String, _ from: String?, _ to: String?) {
                for package in answer[kind]?.array ?? [] {
                    table.add([
                        kind, package["name"]?.string ?? "", package["architecture"]?.string ?? "",
                        from.flatMap { package[$0]?.string } ?? "-", to.flatMap { package[$0]?.string } ?? "-",
                    ])
                }
            }
            add("added", nil, "version")
            add("removed", "version", nil)
            add("upgraded", "from", "to")
            add("downgraded", "from", "to")
            add("changed", "from", "to")
            let counts = ["added", "removed", "upgraded", "downgraded", "changed"].map { kind in
                (kind, answer[kind]?.array?.count ?? 0)
            }
            let summary = counts.filter { $0.1 > 0 }.map { "\($0.1) \($0.0)" }
            let unchanged = "\(answer["unchanged"]?.integer ?? 0) unchanged"
            return (summary.isEmpty ? "" : table.text + "\n") + (summary + [unchanged]).joined(separator: ", ") + "\n"
                + gaps(answer["complete"]?.bool == true)
        }
    }
}

/// What is said beneath a list that may lack something.
private func gaps(_ isComplete: Bool) -> String {
    isComplete ? "" : "\nNot all entries of the package database could be read: packages may be missing here.\n"
}
