import ArgumentParser
import JSON
import Transfer

struct RootfsPromoteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote", abstract: "Make a version its stack's current one: the next pull by tag gets it.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var change: RootfsChangeOptions
    @Option(help: "The version.") var version: String

    func run() async throws {
        var body = change.body
        body["version"] = .string(version)
        try await change.send(.put, "current", body, server)
    }
}

struct RootfsRollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Go back to what was current before; once more goes further back, never forth.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var change: RootfsChangeOptions

    func run() async throws { try await change.send(.post, "rollback", change.body, server) }
}

/// What promote and rollback have in common.
struct RootfsChangeOptions: ParsableArguments {
    @Option(help: "The stack.") var stack: String
    @Option(help: "Why, for the history.") var reason = ""
    @Option(help: "Only if this version is current now; another operator may have promoted meanwhile.")
    var expect: String?

    var body: [String: JSONValue] {
        var body: [String: JSONValue] = ["reason": .string(reason)]
        if let expect { body["expect"] = .string(expect) }
        return body
    }

    func send(
        _ method: ServerClient.HTTPMethod, _ route: String, _ body: [String: JSONValue], _ server: ServerOptions
    ) async throws {
        let answer = try await server.ask {
            try await $0.send(method, "/api/v1/rootfs/\(stack.urlComponent)/\(route)", .object(body))
        } print: { answer in
            let previous = answer["history"]?.array?.dropFirst().first?["version"]?.string
            let was = previous.map { " (was on \($0))" } ?? ""
            return printable("\(stack) is on \(answer["version"]?.string ?? "") now\(was)") + "\n"
        }
        for warning in answer["warnings"]?.array ?? [] {
            writeToStandardError("warning: \(printable(warning.string ?? ""))\n")
        }
    }
}
