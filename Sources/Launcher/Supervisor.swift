import Glibc

/// An init: starts a program, sends signals on to it, reaps whatever ends, and gives the program's status.
struct Supervisor {
    let plan: LaunchPlan
    /// The program leads a session of its own and all of its process group is signalled.
    var newSession = true
    var rewrites: [Int32: Int32] = [:]
    var isVerbose = false
    /// For messages.
    let name: String

    /// - Returns: the exit code.
    func run() throws(LauncherError) -> Int32 {
        System.blockSignals()
        let leftTerminal = newSession && System.leaveTerminal()
        let child = try System.spawn(plan, newSession: newSession)
        say("started process \(child)")
        // Whatever directory this was, it may be unmounted now.
        try? System.changeDirectory("/")
        var state = InitState(
            child: child, forwarding: SignalForwarding(rewrites: rewrites, isSession: newSession),
            drains: newSession && System.isProcessOne, leftTerminal: leftTerminal)
        while true {
            // The timeout is for a last member of the group whose parent, outside the group, never reaps it.
            let signal = System.waitForSignal(seconds: state.drainingExitCode == nil ? nil : 1)
            if let code = handle(signal, &state) { return code }
            if let code = state.drainingExitCode, !System.groupExists(child) { return code }
        }
    }

    /// - Returns: the exit code, once it is time.
    private func handle(_ signal: Int32?, _ state: inout InitState) -> Int32? {
        guard signal == SIGCHLD else {
            guard let signal else { return nil }
            say("received signal \(signal)")
            return perform(state.received(signal), on: state.child)
        }
        var code: Int32?
        while let (process, end) = System.reap() {
            say("process \(process) ended: \(end)")
            code = perform(state.reaped(process, end), on: state.child) ?? code
        }
        return code
    }

    private func perform(_ actions: [InitState.Action], on child: Int32) -> Int32? {
        for action in actions {
            switch action {
            case .send(let signal):
                say("sending signal \(signal)")
                System.send(signal, to: newSession ? -child : child)
            case .suspend: System.send(SIGSTOP, to: getpid())
            case .exit(let code): return code
            }
        }
        return nil
    }

    private func say(_ text: String) {
        if isVerbose { System.write("[\(name)] \(text)\n", to: STDERR_FILENO) }
    }
}

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

/// Which signal is sent on when one is received.
package struct SignalForwarding: Hashable, Sendable {
    /// Signals of a terminal's job control.
    static let stops: Set<Int32> = [SIGTSTP, SIGTTIN, SIGTTOU]

    private var rewrites: [Int32: Int32]

    /// - Parameters:
    ///   - rewrites: a received signal and what is sent in its place, 0 for nothing.
    ///   - isSession: the app has a session of its own. Its process group is then an orphaned one, whose members the
    ///     kernel does not stop for SIGTSTP, SIGTTIN and SIGTTOU; SIGSTOP is sent in their place.
    package init(rewrites: [Int32: Int32] = [:], isSession: Bool) {
        self.rewrites = rewrites
        guard isSession else { return }
        for signal in Self.stops where rewrites[signal] == nil { self.rewrites[signal] = SIGSTOP }
    }

    /// The signal to send, or nil for none.
    package func replacement(_ signal: Int32) -> Int32? {
        let replacement = rewrites[signal] ?? signal
        return replacement == 0 ? nil : replacement
    }
}
