import ArgumentParser
import JSON
import Transfer

struct RootfsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rootfs", abstract: "Root filesystems: bring them in, look at them, make one current.",
        subcommands: [Import.self, List.self, Show.self, Promote.self, RootfsDeltaCommand.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List stacks, or the versions of one.")

        @OptionGroup var server: ServerOptions
        @Option(help: "Only this stack.") var stack: String?

        func run() async throws {
            let path = stack.map { "/api/v1/rootfs/\($0.urlComponent)" } ?? "/api/v1/rootfs"
            try await server.ask {
                try await $0.send(.get, path)
            } print: { answer in
                var table = Table(["STACK", "VERSION", "ARCH", "CURRENT", "SIZE", "SYSTEM", "IMPORTED", "BY"])
                for version in answer["versions"]?.array ?? [] {
                    table.add(
                        [
                            version["stack"]?.string ?? "", version["version"]?.string ?? "",
                            version["architecture"]?.string ?? "", version["current"]?.bool == true ? "*" : "",
                            byteCount(version["size"]?.integer ?? 0), version["system"]?.string ?? "",
                            version["imported"]?.string ?? "", version["importedBy"]?.string ?? "",
                        ])
                }
                return table.text
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one version, or what of a stack is current.")

        @OptionGroup var server: ServerOptions
        @Option(help: "The stack.") var stack: String
        @Option(help: "The version; without it, the stack's current one and its history.") var version: String?

        func run() async throws {
            let stack = stack.urlComponent
            let path = version.map { "/api/v1/rootfs/\(stack)/\($0.urlComponent)" } ?? "/api/v1/rootfs/\(stack)/current"
            try await server.ask {
                try await $0.send(.get, path)
            } print: { answer in
                version == nil ? Self.current(answer) : Self.variants(answer)
            }
        }

        /// What is current, how it came to that, and how to go back.
        private static func current(_ answer: JSONValue) -> String {
            let stack = answer["stack"]?.string ?? ""
            var table = Table(["VERSION", "PROMOTED", "BY", "WHY"])
            let history = answer["history"]?.array ?? []
            for promotion in history {
                table.add(["version", "at", "by", "reason"].map { promotion[$0]?.string ?? "" })
            }
            var text = printable("\(stack) is on \(answer["version"]?.string ?? "")") + "\n\n" + table.text
            if let previous = history.dropFirst().first?["version"]?.string {
                text +=
                    "\nTo go back: " + printable("cistern rootfs promote --stack \(stack) --version \(previous)") + "\n"
            }
            return text
        }

        private static func variants(_ answer: JSONValue) -> String {
            (answer["versions"]?.array ?? []).map { version in
                var fields = Fields()
                fields.add("version", "\(version["stack"]?.string ?? "") \(version["version"]?.string ?? "")")
                fields.add("architecture", version["architecture"]?.string)
                fields.add("current", version["current"]?.bool == true ? "yes" : "no")
                fields.add("system", version["system"]?.string)
                fields.add("shell", version["shell"]?.string)
                fields.add("source", version["source"]?.string)
                fields.add("from", version["sourceName"]?.string)
                fields.add("signed by", version["signedBy"]?.string)
                fields.add("size", version["size"]?.integer.map { byteCount($0) })
                fields.add("newest file", version["created"]?.string)
                fields.add("imported", "\(version["imported"]?.string ?? "") by \(version["importedBy"]?.string ?? "")")
                fields.add(layersOf: version)
                return fields.text
            }.joined(separator: "\n")
        }
    }

    struct Promote: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a version its stack's current one: the next pull by tag gets it.")

        @OptionGroup var server: ServerOptions
        @Option(help: "The stack.") var stack: String
        @Option(help: "The version.") var version: String
        @Option(help: "Why, for the history.") var reason = ""

        func run() async throws {
            let body: JSONValue = ["version": .string(version), "reason": .string(reason)]
            try await server.ask {
                try await $0.send(.put, "/api/v1/rootfs/\(stack.urlComponent)/current", body)
            } print: { answer in
                let previous = answer["history"]?.array?.dropFirst().first?["version"]?.string
                return "\(stack) is on \(version) now\(previous.map { " (was on \($0))" } ?? "")\n"
            }
        }
    }
}
