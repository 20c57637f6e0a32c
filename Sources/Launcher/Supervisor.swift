import Glibc

/// An init: starts a program, forwards signals to it, reaps all children that end, and returns the program's status.
struct Supervisor {
    let plan: LaunchPlan
    /// Whether the program leads a session of its own, and signals go to its whole process group.
    var newSession = true
    var rewrites: [Int32: Int32] = [:]
    var isVerbose = false
    /// The name with which messages begin.
    let name: String

    /// - Returns: the exit code.
    func run() throws(LauncherError) -> Int32 {
        System.blockSignals()
        let leftTerminal = newSession && System.leaveTerminal()
        let child = try System.spawn(plan, newSession: newSession)
        say("started process \(child)")
        // An init that stays in the app's directory would keep its file system from being unmounted.
        try? System.changeDirectory("/")
        var state = InitState(
            child: child, forwarding: SignalForwarding(rewrites: rewrites, isSession: newSession),
            drains: newSession && System.isProcessOne, leftTerminal: leftTerminal)
        while true {
            // The group's last member may have a parent outside the group that reaps it: then no SIGCHLD comes here, so
            // the group is looked at each second.
            let signal = System.waitForSignal(seconds: state.drainingExitCode == nil ? nil : 1)
            if let code = handle(signal, &state) { return code }
            if let code = state.drainingExitCode, !System.groupExists(child) { return code }
        }
    }

    /// Acts on a signal; nil means that none came.
    ///
    /// - Returns: the exit code if this process is to exit now, or nil.
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

    /// - Parameter status: the status that wait(2) gives.
    package init(status: Int32) {
        self = status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .killed(signal: status & 0x7F)
    }

    /// The exit code by which shells report such an end.
    package var exitCode: Int32 {
        switch self {
        case .exited(let code): code
        case .killed(let signal): 128 + signal
        }
    }
}

/// An init's state, which decides what the init does next and makes no system calls itself.
package struct InitState: Hashable, Sendable {
    package enum Action: Hashable, Sendable {
        /// Send the signal to the app: to its process group or, in single-child mode, to its first process alone.
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
    /// The exit code of the app's first process, set once it is gone while the rest of its group may still finish.
    package private(set) var drainingExitCode: Int32?

    /// - Parameters:
    ///   - child: the app's first process.
    ///   - drains: whether the rest of its group may finish after that process was killed by a forwarded signal. A
    ///     shell that waits for its command dies of SIGTERM at once; if process 1 exited then, the kernel would kill
    ///     the command in the middle of its own shutdown.
    ///   - leftTerminal: this process just gave up its terminal, for which the kernel sends it SIGHUP and SIGCONT.
    package init(child: Int32, forwarding: SignalForwarding, drains: Bool, leftTerminal: Bool) {
        self.child = child
        self.forwarding = forwarding
        self.drains = drains
        ignored = leftTerminal ? [SIGHUP, SIGCONT] : []
    }

    /// Takes note of a received signal other than SIGCHLD. - Returns: what to do.
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

    /// Takes note of a child that was reaped, the app's first process or an orphan. - Returns: what to do.
    package mutating func reaped(_ process: Int32, _ end: ProcessEnd) -> [Action] {
        guard process == child, drainingExitCode == nil else { return [] }
        if drains, case .killed(let signal) = end, sent.contains(signal) {
            drainingExitCode = end.exitCode
            return []
        }
        return [.send(SIGTERM), .exit(end.exitCode)]
    }
}

/// Decides which signal is forwarded when one is received.
package struct SignalForwarding: Hashable, Sendable {
    /// Signals of a terminal's job control.
    static let stops: Set<Int32> = [SIGTSTP, SIGTTIN, SIGTTOU]

    private var rewrites: [Int32: Int32]

    /// - Parameters:
    ///   - rewrites: by the received signal, the signal that is sent in its place, 0 for none.
    ///   - isSession: whether the app has a session of its own. Its process group is then an orphaned one, whose
    ///     members the kernel does not stop for SIGTSTP, SIGTTIN and SIGTTOU; SIGSTOP is sent in their place.
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
