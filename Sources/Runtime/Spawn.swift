import CLinux
import Glibc

/// Why a program could not be started.
package struct SpawnError: Error, Hashable, Sendable, CustomStringConvertible {
    package let path: String
    /// An errno.
    package let code: Int32

    package var description: String { "can't run \(path): \(String(cString: strerror(code)))" }
}

/// Starts a program in a process group of its own, with no signal blocked, ignored or handled, and no descriptors but
/// the standard three.
///
/// - Parameters:
///   - path: the program's; no search path is looked at.
///   - arguments: without the program's name.
///   - environment: all of it, `NAME=value` each.
///   - input: a descriptor that becomes standard input; a negative one stands for /dev/null.
///   - output: a descriptor that becomes standard output, likewise `errors` standard error. All stay the caller's.
/// - Returns: the process's id, which the caller has to reap, and which is its group's as well. (As a number: `pid_t`
///   would make each caller import the module that declares it.)
package func spawn(
    _ path: String, _ arguments: [String], environment: [[UInt8]], input: Int32 = -1, output: Int32, errors: Int32
) throws(SpawnError) -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if input >= 0 {
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
    } else {
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    }
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO)
    clinux_spawn_closes_from(&actions, STDERR_FILENO + 1)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var (none, all) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(
        &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var argv = ([path] + arguments).map { strdup($0) } + [nil]
    var envp =
        environment.map { entry in
            (entry + [0]).withUnsafeBufferPointer { bytes in
                bytes.withMemoryRebound(to: CChar.self) { $0.baseAddress.flatMap { strdup($0) } }
            }
        } + [nil]
    defer { (argv + envp).forEach { free($0) } }
    var process: pid_t = 0
    let code = posix_spawn(&process, path, &actions, &attributes, &argv, &envp)
    guard code == 0 else { throw SpawnError(path: path, code: code) }
    return process
}
