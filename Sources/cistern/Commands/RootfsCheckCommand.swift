import ArgumentParser
import Glibc
import JSON
import OCI
import OperatorModel
import StagingService
import Transfer

struct RootfsCheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check that apps find on a version what they rely on, before it is promoted.",
        discussion: """
            Fetches the version, whatever its state, and says for each statement of the launcher's contract (the article \
            "What an app finds" in the documentation) whether it holds. Without --boot only files are looked at. With it, \
            small droplets are started on the version by the launch program beside this cistern, apart from this machine \
            and without a network, which needs what `cistern stage` needs. The version's variant for this machine's \
            architecture is checked. Ends with 1 if a statement fails.
            """)

    @OptionGroup var server: ServerOptions
    @Option(help: "The stack.") var stack: String
    @Flag(help: "Boot small droplets on it, on this machine.") var boot = false
    @Option(help: "Where boots work, and root filesystems are kept between them; without it, in the user's cache.")
    var cache: String?
    @Argument(help: "The version.") var version: String

    private enum OutcomeName: String, Words {
        case ok, failed
        case leftOut = "left-out"
    }

    private struct Line: Model {
        let statement: String
        let outcome: OutcomeName
        /// Of one that failed.
        var expected: String?
        var seen: String?
        /// Why it is left out.
        var reason: String?
    }

    private struct Report: Model {
        let stack: String
        let version: String
        let architecture: String
        let boot: Bool
        let lines: [Line]

        func count(_ outcome: OutcomeName) -> Int { lines.count { $0.outcome == outcome } }
    }

    func run() async throws {
        let connection = try server.connection()
        let interrupt = Interrupt()
        let report: Report
        do {
            report = try await interrupt.watch {
                try await ServerClient.with(connection) { client in try await check(client) }
            }
        } catch is CancellationError {
            throw CommandError("the check was cancelled; nothing of it is left")
        }
        if server.json {
            print(report.json.prettyText)
        } else {
            let leftOut = report.count(.leftOut)
            print(
                "\(printable(stack)) \(printable(version)): \(report.count(.ok)) ok, \(report.count(.failed)) failed"
                    + (leftOut > 0 ? ", \(leftOut) left out" : "")
                    + (boot ? "" : "; --boot checks \(ContractStatement.all.count - report.lines.count) more"))
        }
        if report.count(.failed) > 0 { throw ExitCode.failure }
    }

    private func check(_ client: ServerClient) async throws -> Report {
        let architecture = StagingPlace.architecture
        let details: VersionDetails = try await client.send(.get, apiPath("rootfs", stack, version))
        let name = "\(stack) \(version)"
        guard let variant = details.versions.first(where: { $0.architecture.rawValue == architecture }) else {
            throw CommandError(
                "\(printable(name)) has nothing for \(architecture), which is what this machine can run")
        }
        guard let layer = variant.layers.first?.digest, variant.layers.count == 1 else {
            throw CommandError("\(printable(name)) can't be unpacked: it has several layers")
        }
        let place = try StagingPlace(cache: cache)
        let root = try await place.use(
            layer, name, apiPath("rootfs", stack, version, "export", query: ["arch": architecture]), client)
        let check = RootfsCheck(
            root: root, directory: place.tasks, launch: StagingPlace.programs + "/launch",
            users: geteuid() == 0 ? HostUsers() : nil)
        var lines: [Line] = []
        func show(_ line: RootfsCheck.Line) {
            let line = Self.line(line)
            lines.append(line)
            if !server.json { Self.show(line) }
        }
        if boot {
            try await check.run {
                writeToStandardError("WARNING: \($0)\n")
            } report: {
                show($0)
            }
        } else {
            try check.checkFiles().forEach(show)
        }
        return Report(stack: stack, version: version, architecture: architecture, boot: boot, lines: lines)
    }

    private static func line(_ line: RootfsCheck.Line) -> Line {
        switch line.outcome {
        case .ok: Line(statement: line.statement, outcome: .ok)
        case .failed(let expected, let seen):
            Line(statement: line.statement, outcome: .failed, expected: expected, seen: seen)
        case .leftOut(let reason): Line(statement: line.statement, outcome: .leftOut, reason: reason)
        }
    }

    /// Prints a line at once, also into a pipe: a boot may take its time.
    private static func show(_ line: Line) {
        let outcome = line.outcome.rawValue.replacing("-", with: " ")
        var text = outcome + String(repeating: " ", count: 10 - outcome.count) + line.statement
        if let expected = line.expected, let seen = line.seen { text += " Expected: \(expected). Seen: \(seen)." }
        if let reason = line.reason { text += " (\(reason))" }
        print(printable(text))
        fflush(nil)
    }
}
