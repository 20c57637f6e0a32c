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
