import ArgumentParser
import Glibc
import JSON
import OperatorModel
import Transfer
import UnixSignals

struct OperationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "operation", abstract: "Long work of the server: look at it, follow it, cancel it.",
        subcommands: [List.self, Show.self, Cancel.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List what runs, and what ended last of each kind.")

        @OptionGroup var server: ServerOptions

        func run() async throws {
            try await server.ask { (client) -> Operations in
                try await client.send(.get, apiPath("operations"))
            } print: { answer in
                var table = Table(["ID", "KIND", "STATE", "BEGUN", "ENDED", "BY", "PROGRESS", "WHAT"])
                for operation in answer.operations {
                    table.add([
                        operation.id, operation.kind, operation.state.rawValue, "\(operation.begun)",
                        operation.ended?.description ?? "-", operation.by ?? "(schedule)",
                        operation.progress?.text ?? "-", operation.what,
                    ])
                }
                return table.text
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one operation.")

        @OptionGroup var server: ServerOptions
        @Flag(help: "Wait until it has ended, and show how far it is.") var follow = false
        @Argument(help: "The operation's id.") var id: String

        func run() async throws {
            try await server.ask { (client) -> Operation in
                let operation: Operation = try await client.send(.get, apiPath("operations", id))
                return follow ? try await client.follow(operation) : operation
            } print: { operation in
                var fields = Fields()
                fields.add("operation", operation.id)
                fields.add("kind", operation.kind)
                fields.add("what", operation.what)
                fields.add("state", operation.state.rawValue)
                fields.add("begun", "\(operation.begun) by \(operation.by ?? "a schedule")")
                fields.add("ended", operation.ended?.description)
                fields.add("progress", operation.progress?.text)
                fields.add("cancelled by", operation.cancelledBy)
                fields.add("failure", operation.failure?.error)
                return fields.text + (operation.report.json == .null ? "" : operation.report.json.prettyText + "\n")
            }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Cancel one operation; what it did stays.")

        @OptionGroup var server: ServerOptions
        @Argument(help: "The operation's id.") var id: String

        func run() async throws {
            try await server.ask { (client) -> Operation in
                try await client.follow(try await client.send(.post, apiPath("operations", id, "cancel")))
            } print: { operation in
                "\(operation.kind) \(operation.id) is \(operation.state.rawValue)\n"
            }
        }
    }
}

extension ServerClient {
    /// Follows an operation to its end and shows how far it is.
    ///
    /// There is no time limit. If the server can't be reached, it may be starting, so it is asked again for a minute.
    /// The operation goes on when this is interrupted (SIGINT): the user is told how to follow it again, and the
    /// process exits with 130.
    func follow(_ operation: Operation) async throws -> Operation {
        let bar = ProgressBar("\(operation.kind) \(operation.what)", total: operation.progress?.total ?? 0)
        defer { bar.clear() }
        return try await withThrowingTaskGroup(of: Operation?.self) { group in
            group.addTask { try await poll(operation, bar) }
            group.addTask {
                for await _ in await UnixSignalsSequence(trapping: .sigint) {
                    bar.clear()
                    writeToStandardError(
                        """
                        the \(operation.kind) goes on without you:
                          cistern operation show --follow \(operation.id)
                          cistern operation cancel \(operation.id)

                        """)
                    Glibc.exit(130)
                }
                return nil
            }
            while let ended = try await group.next() {
                guard let ended else { continue }
                group.cancelAll()
                return ended
            }
            throw CancellationError()
        }
    }

    private func poll(_ first: Operation, _ bar: ProgressBar) async throws -> Operation {
        var operation = first
        var pause = Duration.milliseconds(20)
        var unreachable: ContinuousClock.Instant?
        while operation.state == .queued || operation.state == .running {
            bar.show(operation.progress)
            try await Task.sleep(for: pause)
            pause = min(pause * 3 / 2, .seconds(1))
            do {
                operation = try await send(.get, apiPath("operations", first.id))
                unreachable = nil
            } catch let error as TransferError {
                guard case .connection = error else { throw error }
                let since = unreachable ?? .now
                unreachable = since
                guard .now - since < .seconds(60) else { throw error }
            }
        }
        return operation
    }
}

extension ServerOptions {
    /// Has the server begin an operation, follows that to its end and prints its report.
    @discardableResult
    func follow<Report: Model>(
        _ begin: @Sendable (ServerClient) async throws -> Operation, print text: (Report) throws -> String
    ) async throws -> Report {
        try await ask { (client) -> Report in
            try await client.follow(try await begin(client)).result()
        } print: {
            try text($0)
        }
    }
}

extension Operation {
    /// The report of an operation that is done.
    /// - Throws: `CommandError` if the operation failed, was cancelled or was interrupted.
    func result<Report: Model>() throws -> Report {
        switch state {
        case .done: return try Report(json: report.json)
        case .cancelled: throw CommandError("the \(kind) was cancelled by \(cancelledBy ?? "somebody")")
        case .failed, .interrupted, .queued, .running:
            let verb = state == .failed ? "failed" : "was interrupted"
            throw CommandError("the \(kind) \(verb): \(failure?.error ?? "no reason given")")
        }
    }

    /// What the operation works on, as in `cflinuxfs4 2`.
    var what: String {
        ["stack", "from", "version", "app"].compactMap { parameters[$0] }.joined(separator: " ")
    }
}

extension Operation.Progress {
    var text: String {
        func count(_ number: Int64) -> String { unit == "bytes" ? byteCount(number) : "\(number)" }
        let of = total.map { " of \(count($0))" } ?? ""
        return count(done) + of + (unit == "bytes" ? "" : " \(unit)")
    }
}
