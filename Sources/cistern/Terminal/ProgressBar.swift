import Glibc
import Synchronization

/// A progress bar on standard error, drawn only if that is a terminal.
final class ProgressBar: Sendable {
    private struct State {
        var lastPercent: Int64 = -1
        var isDrawn = false
    }

    private let title: String
    private let total: Int64
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let state = Mutex(State())

    init(_ title: String, total: Int64) {
        self.title = printable(title)
        self.total = max(total, 1)
    }

    /// Draws the bar if a further percent is done.
    func show(_ done: Int64) {
        guard isTerminal else { return }
        let percent = min(100, done * 100 / total)
        let text: String? = state.withLock { state in
            guard percent > state.lastPercent else { return nil }
            state.lastPercent = percent
            state.isDrawn = true
            let filled = Int(percent) * 30 / 100
            let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: 30 - filled)
            let note = percent == 100 ? "sent, waiting for the server" : "\(byteCount(done)) of \(byteCount(total))"
            return "\r\u{1B}[K\(title) [\(bar)] \(percent)% \(note)"
        }
        if let text { writeToStandardError(text) }
    }

    /// Says how far something is whose end is not known.
    func note(_ text: String) {
        guard isTerminal else { return }
        state.withLock { $0.isDrawn = true }
        writeToStandardError("\r\u{1B}[K\(title): \(text)")
    }

    /// Removes the bar.
    func clear() {
        if state.withLock({ $0.isDrawn }) { writeToStandardError("\r\u{1B}[K") }
    }
}
