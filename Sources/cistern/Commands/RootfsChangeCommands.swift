import ArgumentParser
import JSON
import OperatorModel
import Transfer

struct RootfsPromoteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote", abstract: "Make a version its stack's current one: the next pull by tag gets it.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var change: RootfsChangeOptions
    @Option(help: "The version.") var version: String

    func run() async throws {
        let body = PromotionRequest(version: version, change: change.request).json
        try await change.send(.put, "current", body, server)
    }
}

struct RootfsRollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Go back to what was current before; once more goes further back, never forth.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var change: RootfsChangeOptions

    func run() async throws { try await change.send(.post, "rollback", change.request.json, server) }
}

/// What promote and rollback have in common.
struct RootfsChangeOptions: ParsableArguments {
    @Option(help: "The stack.") var stack: String
    @Option(help: "Why, for the history.") var reason = ""
    @Option(help: "Only if this version is current now; another operator may have promoted meanwhile.")
    var expect: String?

    var request: ChangeRequest { ChangeRequest(reason: reason, expect: expect) }

    func send(
        _ method: ServerClient.HTTPMethod, _ route: String, _ body: JSONValue, _ server: ServerOptions
    ) async throws {
        let current = try await server.ask { (client) -> Current in
            try await client.send(method, apiPath("rootfs", stack, route), body)
        } print: { current in
            let was = current.history.dropFirst().first.map { " (was on \($0.version))" } ?? ""
            return printable("\(stack) is on \(current.version) now\(was)") + "\n"
        }
        for warning in current.warnings ?? [] { writeToStandardError("warning: \(printable(warning))\n") }
    }
}

struct RootfsDeprecateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deprecate", abstract: "Say that a version should not be used any more: promoting it warns.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "Why.") var reason: String

    func run() async throws { try await name.set(.deprecated, reason, server) }
}

struct RootfsBlockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "block",
        abstract: "Forbid a version: it can't be promoted nor gone back to. What runs on it goes on being served.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "Why.") var reason: String

    func run() async throws { try await name.set(.blocked, reason, server) }
}

struct RootfsAllowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "allow", abstract: "Take back that a version is deprecated or blocked.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "Why.") var reason = ""

    func run() async throws { try await name.set(.available, reason, server) }
}

struct RootfsRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove",
        abstract: "Remove a version and the images on it. What is current or known to run stays.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var name: RootfsVersionOptions
    @Option(help: "What apps run on, or what builds run in.") var kind = KindName.run
    @Flag(help: "Also what was current before, and while it is not known what runs.") var force = false

    func run() async throws {
        let query = ["force": force ? "true" : nil, "kind": kind == .run ? nil : kind.rawValue]
        try await server.change(
            .delete, apiPath("rootfs", name.stack, name.version, query: query),
            printing: "removed\n")
    }
}
