import ArgumentParser
import JSON
import Transfer

struct RootfsDeprecateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deprecate", abstract: "Say that a version should not be used any more: promoting it warns.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "Why.") var reason: String

    func run() async throws { try await name.set("deprecated", reason, server) }
}

struct RootfsBlockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "block",
        abstract: "Forbid a version: it can't be promoted nor gone back to. What runs on it goes on being served.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "Why.") var reason: String

    func run() async throws { try await name.set("blocked", reason, server) }
}

struct RootfsAllowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "allow", abstract: "Take back that a version is deprecated or blocked.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "Why.") var reason = ""

    func run() async throws { try await name.set("available", reason, server) }
}

struct RootfsRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Remove a version and the images on it. What is current or known to run stays.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Flag(help: "Also what was current before, and while it is not known what runs.") var force = false

    func run() async throws {
        try await server.ask {
            try await $0.send(.delete, name.path + (force ? "?force=true" : ""))
        } print: { _ in
            "removed\n"
        }
    }
}

/// The name of a version.
struct RootfsVersionOptions: ParsableArguments {
    @Option(help: "The stack.") var stack: String
    @Option(help: "The version.") var version: String

    var path: String { "/api/v1/rootfs/\(stack.urlComponent)/\(version.urlComponent)" }

    func set(_ state: String, _ reason: String, _ server: ServerOptions) async throws {
        let body: JSONValue = ["state": .string(state), "reason": .string(reason)]
        try await server.ask {
            try await $0.send(.put, path + "/state", body)
        } print: { answer in
            printable("\(stack) \(version) is \(answer["state"]?.string ?? "") now") + "\n"
        }
    }
}
