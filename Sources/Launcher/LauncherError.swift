/// Why nothing can be started. The text goes to the app's log: it names files and variables, never what is in them.
package enum LauncherError: Error, Hashable, Sendable {
    /// Arguments that make no sense; each program has its own exit code for them.
    case usage(String, exitCode: Int32)
    /// No process of that type has a command; where it was looked for, one remark a place.
    case noStartCommand(type: String, looked: [String])
    case appDirectory(path: String, reason: String)
    case noShell(looked: [String])
    /// The program is missing.
    case notFound(name: String, reason: String)
    /// The program is there but can't be executed.
    case notExecutable(name: String, reason: String)
}

extension LauncherError {
    /// 1 as the predecessors' launchers had it; 126 and 127 as shells have it.
    package var exitCode: Int32 {
        switch self {
        case .usage(_, let exitCode): exitCode
        case .noStartCommand, .appDirectory: 1
        case .noShell, .notFound: 127
        case .notExecutable: 126
        }
    }
}

extension LauncherError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .usage(let text, _): text
        case .noStartCommand(let type, let looked):
            "no start command for the process type '\(type)': \(looked.joined(separator: "; ")). "
                + "Set START_COMMAND or add '\(type): COMMAND' to the app's Procfile and stage it again"
        case .appDirectory(let path, let reason): "the app's directory \(path): \(reason)"
        case .noShell(let looked): "this image has no shell: none of \(looked.joined(separator: ", ")) is there"
        case .notFound(let name, let reason), .notExecutable(let name, let reason): "\(name): \(reason)"
        }
    }
}
