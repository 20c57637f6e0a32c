import Glibc

/// How a process ended.
package enum ProcessEnd: Hashable, Sendable {
    case exited(Int32)
    case killed(signal: Int32)

    /// The status of wait(2).
    package init(status: Int32) {
        self = status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .killed(signal: status & 0x7F)
    }

    /// As shells have it.
    package var exitCode: Int32 {
        switch self {
        case .exited(let code): code
        case .killed(let signal): 128 + signal
        }
    }
}

/// What an init knows of its app, and what it does next: a value without system calls.
package struct InitState: Hashable, Sendable {
    package enum Action: Hashable, Sendable {
        /// Send the signal to the app: to its process group, or to itself in single-child mode.
        case send(Int32)
        /// Stop this process too, so that a terminal's job control sees the whole job stopped.
        case suspend
        case exit(Int32)
    }

    package let child: Int32
    private let forwarding: SignalForwarding
    private let drains: Bool
    private var ignored: Set<Int32>
    private var sent: Set<Int32> = []
    /// Set once the app's first process is gone and the rest of its group may still finish.
    package private(set) var drainingExitCode: Int32?

    /// - Parameters:
    ///   - child: the app's first process.
    ///   - drains: whether the rest of its group may finish after that process was killed by a signal that was sent
    ///     on. A shell that waits for its command dies of SIGTERM at once; were this process 1 to exit then, the kernel
    ///     would kill the command in the middle of its own shutdown.
    ///   - leftTerminal: this process just gave up its terminal, for which the kernel sends it SIGHUP and SIGCONT.
    package init(child: Int32, forwarding: SignalForwarding, drains: Bool, leftTerminal: Bool) {
        self.child = child
        self.forwarding = forwarding
        self.drains = drains
        ignored = leftTerminal ? [SIGHUP, SIGCONT] : []
    }

    /// A signal other than SIGCHLD came in.
    package mutating func received(_ signal: Int32) -> [Action] {
        guard ignored.remove(signal) == nil else { return [] }
        var actions: [Action] = []
        if let replacement = forwarding.replacement(signal) {
            sent.insert(replacement)
            actions.append(.send(replacement))
        }
        if SignalForwarding.stops.contains(signal) { actions.append(.suspend) }
        return actions
    }

    /// A child was reaped, the app's own or an orphan.
    package mutating func reaped(_ process: Int32, _ end: ProcessEnd) -> [Action] {
        guard process == child, drainingExitCode == nil else { return [] }
        if drains, case .killed(let signal) = end, sent.contains(signal) {
            drainingExitCode = end.exitCode
            return []
        }
        return [.send(SIGTERM), .exit(end.exitCode)]
    }
}
