public import Foundation
import Synchronization

/// A process that a test started: waited for with a bound, stopped by its id, never left behind.
///
/// It leads a process group of its own, so that what it started goes with it.
public final class ChildProcess: Sendable {
    /// The command as a person would type it, for messages.
    public let command: String
    public let pid: pid_t
    /// Reads end-of-file once the process has ended.
    let ended: Int32
    private let status = Mutex<Int32?>(nil)

    /// Starts a program with its standard input empty (or from a descriptor) and its outputs in given descriptors.
    /// - Parameters:
    ///   - environment: added to this process's own.
    ///   - directory: where it starts; here by default.
    /// - Throws: `CommandError.notFound` if there is no such program, `.notStarted`.
    init(
        _ program: String, _ arguments: [String], environment: [String: String], directory: String?,
        input: Int32?, output: Int32, errors: Int32
    ) throws {
        command = ([program] + arguments).joined(separator: " ")
        // env(1) changes the directory, since posix_spawn's own way is not in Swift's Glibc.
        let path = try Programs.path(of: directory == nil ? program : "env")
        let words = try directory.map { ["env", "--chdir=\($0)", try Programs.path(of: program)] } ?? [program]
        let (ended, ending) = try channel()

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, errors, 2)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))

        var variables = ProcessInfo.processInfo.environment
        variables["PATH"] = Programs.searchPath.joined(separator: ":")
        variables.merge(environment) { _, given in given }
        var argv: [UnsafeMutablePointer<CChar>?] = (words + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { (argv + envp).forEach { free($0) } }

        var started: pid_t = 0
        let failure = posix_spawn(&started, path, &actions, &attributes, &argv, &envp)
        guard failure == 0 else {
            close(ended)
            close(ending)
            throw CommandError.notStarted(program, failure)
        }
        pid = started
        self.ended = ended
        Thread.detachNewThread { [self] in
            var raw: Int32 = 0
            while waitpid(pid, &raw, 0) < 0 && errno == EINTR {}
            status.withLock { $0 = raw & 0x7f == 0 ? (raw >> 8) & 0xff : 128 + (raw & 0x7f) }
            close(ending)
        }
    }

    /// Starts a program that writes both outputs to the end of a log file.
    public convenience init(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil,
        log: String
    ) throws {
        let file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw CommandError.notStarted(log, errno) }
        defer { close(file) }
        try self.init(
            program, arguments, environment: environment, directory: directory, input: nil, output: file, errors: file)
    }

    deinit {
        close(ended)
    }

    /// The exit status, or 128 + the signal that ended it; nil while it runs.
    public var exitStatus: Int32? { status.withLock { $0 } }

    public var isRunning: Bool { exitStatus == nil }

    /// Waits for the end.
    /// - Returns: the exit status, nil if it still runs after the time.
    public func wait(atMost limit: Duration) async throws -> Int32? {
        let deadline = ContinuousClock.now + limit
        return try await onThread { [self] in
            var waited = pollfd(fd: ended, events: Int16(POLLIN), revents: 0)
            while poll(&waited, 1, milliseconds(until: deadline)) < 0 && errno == EINTR {}
            return exitStatus
        }
    }

    public func signal(_ number: Int32) {
        // An ended process's id may belong to another one by now.
        status.withLock { if $0 == nil { _ = kill(pid, number) } }
    }

    /// Ends the process and whatever else is in its group at once.
    public func killGroup() {
        status.withLock { if $0 == nil { _ = kill(-pid, SIGKILL) } }
    }

    /// Asks it to end, and after the grace time makes it.
    /// - Returns: the exit status: 128 + SIGKILL if it had to be made.
    @discardableResult
    public func stop(grace: Duration = .seconds(10)) async throws -> Int32 {
        signal(SIGTERM)
        if let status = try await wait(atMost: grace) { return status }
        killGroup()
        guard let status = try await wait(atMost: .seconds(10)) else {
            throw TimedOut(description: "\(command) does not end, not even killed")
        }
        return status
    }
}
