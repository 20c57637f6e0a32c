import ArgumentParser
import OCI
import OperatorModel
import Transfer

// Commands that show what versions contain, and what they cost a node.

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
        try await server.follow { client in
            try await client.send(
                .post,
                apiPath(
                    "rootfs", stack, new, "delta",
                    query: ["from": old, "arch": arch, "times": ignoreTimes ? "ignored" : nil]))
        } print: {
            text(of: $0)
        }
    }

    private func text(of delta: Delta) -> String {
        var fields = Fields()
        fields.add("delta", "\(old) to \(new) of \(stack) (\(arch))")
        fields.add("size", "\(byteCount(delta.layer.size)), \(byteCount(delta.uncompressedSize)) unpacked")
        fields.add("share", "\(delta.sharePercent) % of \(byteCount(delta.rootfsSize)), the whole of \(new)")
        fields.add("changed", "\(delta.changed) names")
        fields.add("gone", "\(delta.gone) names")
        fields.add("digest", delta.layer.digest.description)
        return fields.text
    }
}

struct RootfsPrepullCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prepull", abstract: "List what nodes need to have before apps are rolled onto a version.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "The architecture: amd64 or arm64.") var arch = "amd64"

    func run() async throws {
        try await server.ask { client in
            try await client.send(.get, apiPath("rootfs", name.stack, name.version, "prepull", query: ["arch": arch]))
        } print: {
            text(of: $0)
        }
    }

    private func text(of prepull: Prepull) -> String {
        let (pull, bytes) = (prepull.pull.first, prepull.bytes)
        var fields = Fields()
        fields.add("version", "\(name.stack) \(name.version) (\(arch))")
        fields.add(
            "images",
            prepull.form == .delta ? "those on \(pull?.version ?? "before") and a delta" : "on its own layers")
        fields.add("empty node", "\(byteCount(bytes.empty)), and each app's droplet")
        if let previous = prepull.previous { fields.add("node on \(previous)", byteCount(bytes.previous ?? 0)) }
        if pull != nil { fields.add("after a pull", byteCount(bytes.pulled)) }
        var text = fields.text + "\n"
        let command = pull.map { "crictl pull \(printable($0.reference))" }
        if let command, pull?.helpsPrevious == true {
            text += "On each node: \(command)\n"
        } else {
            text +=
                "Nothing to pull ahead on a node that runs the version before: what is new to it comes with each app.\n"
            if let command { text += "On a node that has nothing: \(command)\n" }
        }
        return text
    }
}

struct RootfsExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a version's layer into a file that can be imported again.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "The architecture: amd64 or arm64.") var arch = "amd64"
    @Option(help: "What apps run on, or what builds run in.") var kind = KindName.run
    @Argument(help: "The file, which must not be there yet.") var file: String

    private struct Exported: Model {
        let file: String
        let size: Int64
        let digest: String
    }

    func run() async throws {
        let path = apiPath(
            "rootfs", name.stack, name.version, "export",
            query: ["arch": arch, "kind": kind == .run ? nil : kind.rawValue])
        let bar = ProgressBar("exporting \(name.version)", total: 1)
        try await server.ask { client in
            defer { bar.clear() }
            let written = try await client.download(path, to: file) { bar.note(byteCount($0)) }
            return Exported(file: file, size: written.size, digest: written.digest)
        } print: { answer in
            "wrote \(file), \(byteCount(answer.size)), \(answer.digest)\n"
        }
    }
}

struct RootfsPackagesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "packages", abstract: "List the packages of a version.")

    @OptionGroup var server: ServerOptions
    @Option(help: "The stack.") var stack: String
    @Option(help: "The architecture: amd64 or arm64.") var arch = "amd64"
    @Argument(help: "The version.") var version: String

    func run() async throws {
        try await server.ask { (client) -> Packages in
            try await client.send(.get, apiPath("rootfs", stack, version, "packages", query: ["arch": arch]))
        } print: { answer in
            var table = Table(["PACKAGE", "VERSION", "ARCH", "SOURCE"])
            for package in answer.packages {
                table.add([package.name, package.version, package.architecture, package.source])
            }
            return table.text + gaps(answer.complete && answer.skipped == 0)
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
        try await server.ask { client in
            try await client.send(.get, apiPath("rootfs", stack, new, "diff", query: ["from": old, "arch": arch]))
        } print: {
            text(of: $0)
        }
    }

    private func text(of changes: PackageChanges) -> String {
        var table = Table(["CHANGE", "PACKAGE", "ARCH", old, new])
        var summary: [String] = []
        func add(_ kind: String, _ rows: [[String]]) {
            for row in rows { table.add([kind] + row) }
            if !rows.isEmpty { summary.append("\(rows.count) \(kind)") }
        }
        func row(_ change: PackageChange) -> [String] { [change.name, change.architecture, change.from, change.to] }
        add("added", changes.added.map { [$0.name, $0.architecture, "-", $0.version] })
        add("removed", changes.removed.map { [$0.name, $0.architecture, $0.version, "-"] })
        add("upgraded", changes.upgraded.map(row))
        add("downgraded", changes.downgraded.map(row))
        add("changed", changes.changed.map(row))
        return (summary.isEmpty ? "" : table.text + "\n")
            + (summary + ["\(changes.unchanged) unchanged"]).joined(separator: ", ") + "\n" + gaps(changes.complete)
    }
}

/// The note beneath a list of packages that may be incomplete; empty if it is complete.
private func gaps(_ isComplete: Bool) -> String {
    isComplete ? "" : "\nNot all entries of the package database could be read: packages may be missing here.\n"
}
