import CLauncher
import CLinux
import Foundation
import Glibc

/// An option of a step's command line.
package struct StepOption: Sendable {
    /// With its dashes.
    let name: String
    /// What stands for its value in the help; nil: it is a flag.
    let value: String?
    let help: String

    package init(_ name: String, _ value: String? = nil, _ help: String) {
        self.name = name
        self.value = value
        self.help = help
    }

    /// The options that both steps have.
    static let common = [
        StepOption("--task", "FILE", "take the variables from a JSON object, too; - is standard input"),
        StepOption("--allow-host", "HOST[:PORT]", "let URLs lead to this host, whatever its address (repeatable)"),
        StepOption("--allow-http", nil, "let URLs be http as well as https"),
        StepOption("--ca", "FILE", "trust the certificate authorities in a PEM file, too (repeatable)"),
        StepOption("--time-limit", "SECONDS", "how long each transfer may take, all attempts together (3600)"),
    ]
}

/// The values of a step's options.
package struct StepArguments: Sendable {
    private let values: [String: [String]]

    /// - Throws: `TransferFailure`, `.invalid`, for what is no option.
    init(_ words: [String], _ options: [StepOption]) throws(TransferFailure) {
        var values: [String: [String]] = [:]
        var rest = words[...]
        while let word = rest.popFirst() {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let option = options.first(where: { $0.name == parts.first }) else {
                throw TransferFailure(.invalid, "there is no option '\(parts.first ?? "")': see --help")
            }
            if option.value == nil {
                guard parts.count == 1 else { throw TransferFailure(.invalid, "\(option.name) takes no value") }
                values[option.name, default: []].append("")
            } else if let value = parts.count > 1 ? parts[1] : rest.popFirst() {
                values[option.name, default: []].append(value)
            } else {
                throw TransferFailure(.invalid, "\(option.name) needs a value")
            }
        }
        self.values = values
    }

    package subscript(_ name: String) -> String? { values[name]?.last }
    package func all(_ name: String) -> [String] { values[name] ?? [] }
    package func has(_ name: String) -> Bool { values[name] != nil }

    /// A positive number.
    /// - Throws: `TransferFailure`, `.invalid`.
    package func number(_ name: String) throws(TransferFailure) -> Int64? {
        guard let text = self[name] else { return nil }
        guard let number = Int64(text), number > 0, number < 1 << 53 else {
            throw TransferFailure(.invalid, "\(name) takes a number above 0, not '\(text)'")
        }
        return number
    }

    /// The client that the common options ask for.
    /// - Throws: `TransferFailure`, `.invalid`.
    package func client(
        _ variables: TaskVariables, files: DestinationRules.Files = .none
    ) throws(TransferFailure) -> TaskClient {
        var hosts: Set<DestinationRules.AllowedHost> = []
        for text in all("--allow-host") {
            guard let host = DestinationRules.AllowedHost(text) else {
                throw TransferFailure(.invalid, "--allow-host takes HOST or HOST:PORT, not '\(text)'")
            }
            hosts.insert(host)
        }
        var times = TaskClient.Times()
        if let seconds = try number("--time-limit") { times.whole = .seconds(min(seconds, 86400 * 7)) }
        return TaskClient(
            rules: DestinationRules(
                allowedHosts: hosts, allowsPlain: has("--allow-http"), files: files),
            trust: try variables.trust(authorities: all("--ca")), times: times)
    }
}

/// The frame of a step's program: signals, command line, variables, messages and exit codes.
package enum StepProgram {
    /// Runs a step and ends the process: status 0 if it is done, 1 if it failed, 2 if it was called wrongly. The last
    /// line on standard error says what failed, in a sentence.
    /// - Parameters:
    ///   - summary: what the program does and which variables it reads, for the help.
    ///   - options: those that it has besides the common ones.
    package static func run(
        _ name: String, summary: String, options: [StepOption],
        _ body: @escaping @Sendable (StepArguments, TaskVariables, ProcessGroups) async throws -> Void
    ) -> Never {
        // Before anything uses libdispatch: that counts threads there, and ends a process at some moment or other where
        // it can't.
        guard access("/proc/self/task", R_OK) == 0 else {
            fail(name, "there is no /proc here: mount it, as every container has it", 1)
        }
        let groups = ProcessGroups()
        groups.endWithSignals()
        DestinationRules.resolveWithoutLibraries()
        let words = Array(commandLine().dropFirst())
        let all = options + StepOption.common
        if words.contains("--help") || words.contains("-h") {
            print(help(name, summary, all))
            exit(0)
        }
        Task.detached {
            do {
                let arguments = try StepArguments(words, all)
                let variables = try TaskVariables(
                    environment: ProcessInfo.processInfo.environment, file: arguments["--task"])
                try await body(arguments, variables, groups)
                exit(0)
            } catch {
                groups.killAll()
                fail(
                    name, (error as? TransferFailure)?.description ?? "\(error)",
                    (error as? TransferFailure)?.kind == .invalid ? 2 : 1)
            }
        }
        dispatchMain()
    }

    private static func fail(_ name: String, _ text: String, _ code: Int32) -> Never {
        let line = Array("\(name): \(text)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
        exit(code)
    }

    /// The command line. Swift's own reads /proc, which a root file system may lack, and which has the loader's
    /// arguments where a program is started by its own loader.
    private static func commandLine() -> [String] {
        var words: [String] = []
        var next = cistern_arguments()
        while let word = next?.pointee {
            words.append(String(cString: word))
            next = next?.advanced(by: 1)
        }
        return words
    }

    /// Prints a line for people at once.
    package static let log: @Sendable (String) -> Void = { line in
        let bytes = Array("\(line)\n".utf8)
        _ = write(STDOUT_FILENO, bytes, bytes.count)
    }

    private static func help(_ name: String, _ summary: String, _ options: [StepOption]) -> String {
        let lines = options.map { option in
            let left = "  \(option.name)\(option.value.map { " \($0)" } ?? "")"
            return left + String(repeating: " ", count: max(2, 30 - left.count)) + option.help
        }
        return "usage: \(name) [OPTION]…\n\n\(summary)\n\n\(lines.joined(separator: "\n"))"
    }
}
