import Glibc

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
