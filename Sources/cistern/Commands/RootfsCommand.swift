import ArgumentParser
import OCI
import OperatorModel
import Transfer

struct RootfsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rootfs", abstract: "Root filesystems: bring them in, look at them, make one current.",
        subcommands: [
            Import.self, List.self, RootfsShowCommand.self, RootfsPromoteCommand.self, RootfsRollbackCommand.self,
            RootfsDeltaCommand.self, RootfsDiffCommand.self, RootfsPackagesCommand.self, RootfsPrepullCommand.self,
            RootfsCheckCommand.self,
            RootfsDeprecateCommand.self, RootfsBlockCommand.self,
            RootfsAllowCommand.self, RootfsExportCommand.self, RootfsRemoveCommand.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List stacks, or the versions of one.")

        @OptionGroup var server: ServerOptions
        @Option(help: "Only this stack.") var stack: String?
        @Option(help: "Those that apps run on, or those that builds run in.") var kind = KindName.run

        func run() async throws {
            let query = ["kind": kind == .run ? nil : kind.rawValue]
            try await server.ask { (client) -> Versions in
                try await client.send(
                    .get, stack.map { apiPath("rootfs", $0, query: query) } ?? apiPath("rootfs", query: query))
            } print: { answer in
                var table = Table(["STACK", "VERSION", "ARCH", "CURRENT", "STATE", "SIZE", "SYSTEM", "IMPORTED", "BY"])
                for version in answer.versions {
                    table.add([
                        version.stack, version.version, version.architecture.rawValue, version.current ? "*" : "",
                        version.state.rawValue, byteCount(version.size), version.system, "\(version.imported)",
                        version.importedBy,
                    ])
                }
                return table.text
            }
        }
    }
}

/// What a root filesystem is for.
extension KindName: ExpressibleByArgument {}

/// The name of a version.
struct RootfsVersionOptions: ParsableArguments {
    @Option(help: "The stack.") var stack: String
    @Option(help: "The version.") var version: String

    func set(_ state: StateName, _ reason: String, _ server: ServerOptions) async throws {
        try await server.ask { (client) -> State in
            try await client.send(
                .put, apiPath("rootfs", stack, version, "state"), StateRequest(state: state, reason: reason).json)
        } print: { answer in
            printable("\(stack) \(version) is \(answer.state.rawValue) now") + "\n"
        }
    }
}

struct RootfsShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one version, or what of a stack is current.")

    /// How many promotions of a stack's history are shown.
    private static let shownPromotions = 20

    @OptionGroup var server: ServerOptions
    @Option(help: "The stack.") var stack: String
    @Option(help: "The version; without it, the stack's current one and its history.") var version: String?

    func run() async throws {
        if let version {
            try await server.ask { (client) -> VersionDetails in
                try await client.send(.get, apiPath("rootfs", stack, version))
            } print: {
                Self.text(of: $0)
            }
        } else {
            try await server.ask { (client) -> Current in
                try await client.send(.get, apiPath("rootfs", stack, "current"))
            } print: {
                Self.text(of: $0)
            }
        }
    }

    /// The current version, how many droplets get it, how it came to be current, and how to go back.
    private static func text(of current: Current) -> String {
        let last = current.history.first
        var fields = Fields()
        fields.add("stack", current.stack + (current.compatible.map { " (buildpacks see \($0))" } ?? ""))
        fields.add("current", current.version + (current.state == .deprecated ? " (deprecated)" : ""))
        fields.add("since", "\(current.since?.description ?? "") by \(last?.by ?? "")")
        fields.add("why", last?.reason)
        fields.add("before", current.history.dropFirst().first?.version ?? "nothing")
        fields.add("droplets", "\(current.droplets ?? 0) get it with the next pull by tag")
        var text = fields.text + "\n" + table(current.history)
        if current.history.count > shownPromotions {
            text += "… and \(current.history.count - shownPromotions) before (--json)\n"
        }
        if let target = current.rollback {
            text +=
                "\nTo go back to \(printable(target)): `cistern rootfs rollback --stack \(printable(current.stack))`\n"
        } else {
            text += "\nThere is nothing to go back to.\n"
        }
        return text
    }

    private static func table(_ promotions: [Promotion]) -> String {
        var table = Table(["VERSION", "HOW", "AT", "BY", "WHY"])
        for promotion in promotions.prefix(shownPromotions) {
            table.add([
                promotion.version, promotion.kind.rawValue, "\(promotion.at)", promotion.by, promotion.reason,
            ])
        }
        return table.text
    }

    private static func text(of details: VersionDetails) -> String {
        var fields = Fields()
        fields.add("version", "\(details.stack) \(details.version)")
        fields.add("current", details.current ? "yes" : "no")
        fields.add("droplets", "\(details.droplets)")
        fields.add("state", details.state.state.rawValue)
        if let by = details.state.by { fields.add("said", "\(details.state.at?.description ?? "") by \(by)") }
        fields.add("why", details.state.reason)
        return fields.text + "\n" + details.versions.map(text(of:)).joined(separator: "\n")
            + (details.promotions.isEmpty ? "\nNever promoted.\n" : "\n" + table(details.promotions))
    }

    private static func text(of version: Version) -> String {
        var fields = Fields()
        fields.add("architecture", version.architecture.rawValue)
        fields.add("system", version.system)
        fields.add("packages", version.packages.map { String($0) })
        fields.add("shell", version.shell)
        fields.add("source", version.source.description)
        fields.add("kind", version.sourceKind)
        fields.add("from", version.sourceName)
        fields.add("signed by", version.signedBy)
        fields.add("size", byteCount(version.size))
        fields.add("newest file", "\(version.created)")
        fields.add("imported", "\(version.imported) by \(version.importedBy)")
        fields.add(version.layers)
        return fields.text
    }
}
