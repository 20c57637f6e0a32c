import ArgumentParser
import Glibc
import OCI
import Transfer

@main
struct Cistern: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cistern",
        abstract: "Serves Cloud Foundry droplets as container images.",
        discussion: """
            Commands that need a server take --server, --user, --password-file and --ca, or CISTERN_SERVER, \
            CISTERN_USER, CISTERN_PASSWORD_FILE and CISTERN_CA. `cistern --version` shows Cistern's version.
            """,
        subcommands: [
            ServeCommand.self, RootfsCommand.self, DropletCommand.self, StageCommand.self, BuildpackCommand.self,
            CollectCommand.self, VerifyCommand.self,
            UsageCommand.self, OperationCommand.self, ClusterCommand.self, UserCommand.self,
        ])

    /// Exit codes: 0 done, 1 failed, 2 usage.
    static func main() async {
        // ArgumentParser's own `--version` would also answer for every command with incomplete arguments, and rootfs
        // commands have an option of that name.
        if CommandLine.arguments.dropFirst() == ["--version"] { return print("0.1.0") }
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as TransferError {
            finish("cistern: \(error)\n", code: 1)
        } catch let error as UnsuitableImage {
            finish("cistern: \(error)\n", code: 1)
        } catch {
            let code = exitCode(for: error)
            let message = fullMessage(for: error)
            switch code {
            case .success:
                print(message)
                Glibc.exit(0)
            case .validationFailure: finish(message + "\n", code: 2)
            default: finish(message.isEmpty ? "" : message + "\n", code: 1)
            }
        }
    }

    private static func finish(_ message: String, code: Int32) -> Never {
        writeToStandardError(message)
        Glibc.exit(code)
    }
}

/// An error whose text tells its reader what to do next.
struct CommandError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
