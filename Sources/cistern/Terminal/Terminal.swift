import Glibc
import OperatorModel
import Synchronization

/// Writes all of a text to standard error, unbuffered.
func writeToStandardError(_ text: String) { writeToStandardError(Array(text.utf8)[...]) }

func writeToStandardError(_ bytes: ArraySlice<UInt8>) {
    var bytes = bytes
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        guard count > 0 else { return }
        bytes = bytes.dropFirst(count)
    }
}

/// A number of bytes for people: `1.5 MB`.
func byteCount(_ bytes: Int64) -> String {
    var value = Double(bytes)
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 { return unit == "B" ? "\(bytes) B" : "\(oneDecimal(value)) \(unit)" }
        value /= 1000
    }
    return "\(oneDecimal(value)) TB"
}

private func oneDecimal(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
}

/// Replaces characters that could move a terminal's cursor or color its text: the C0 and C1 controls and DEL.
func printable(_ text: String) -> String {
    String(
        String.UnicodeScalarView(
            text.unicodeScalars.map { $0.value < 32 || (127...159).contains($0.value) ? "\u{FFFD}" : $0 }))
}

/// Names and values, one a line, the values in a column.
struct Fields {
    private static let width = 14

    private(set) var text = ""

    /// Adds a line, unless the value is nil or empty.
    mutating func add(_ name: String, _ value: String?) {
        guard let value, !value.isEmpty else { return }
        let padding = String(repeating: " ", count: max(1, Self.width - name.count))
        text += name + padding + printable(value) + "\n"
    }

    /// Adds a line for each layer, bottom up.
    mutating func add(_ layers: [Layer]) {
        for layer in layers { add("layer", "\(layer.digest) \(byteCount(layer.size))") }
    }
}

/// Rows under headings, in columns as wide as their widest cell so far.
struct Table {
    private var rows: [[String]]
    private var widths: [Int] = []

    init(_ headings: [String]) { rows = [headings] }

    mutating func add(_ cells: [String]) { rows.append(cells.map(printable)) }

    var text: String {
        var table = self
        return table.takeText()
    }

    /// The rows that were added since the last call, and at the first one the headings.
    mutating func takeText() -> String {
        defer { rows = [] }
        for row in rows {
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let isLast = column == row.count - 1
                line += isLast ? cell : cell + String(repeating: " ", count: widths[column] - cell.count + 2)
            }
            return line + "\n"
        }.joined()
    }
}

/// A progress bar on standard error, drawn only if that is a terminal.
final class ProgressBar: Sendable {
    private struct State {
        var total: Int64
        var lastPercent: Int64 = -1
        var isDrawn = false
    }

    private let title: String
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let state: Mutex<State>

    init(_ title: String, total: Int64) {
        self.title = printable(title)
        state = Mutex(State(total: max(total, 1)))
    }

    /// Draws the bar if a further percent is done.
    /// - Parameter total: what is to be done, if that is known only now.
    func show(_ done: Int64, of total: Int64? = nil) {
        guard isTerminal else { return }
        let text: String? = state.withLock { state in
            if let total { state.total = max(total, 1) }
            let total = state.total
            let percent = Int64(min(100, Double(done) / Double(total) * 100))
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

    /// Shows how far an operation is.
    func show(_ progress: Operation.Progress?) {
        guard let progress else { return note("under way") }
        if let total = progress.total { show(progress.done, of: total) } else { note(progress.text) }
    }

    /// Shows a text in place of the bar, for work whose end is not known.
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

/// Writes a build's log to standard error as it comes; on a terminal with a last line that says what has been under way
/// for how long.
final class BuildDisplay: Sendable {
    private struct State {
        /// The title of what is under way, and when it began.
        var phase: (title: String, begun: ContinuousClock.Instant)?
        /// The beginning of the last line of the log, which has not ended.
        var line: [UInt8] = []
        var endsLine = true
        var isDrawn = false
    }

    private static let mark = "-----> "
    private static let maximumTitle = 60

    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let state = Mutex(State())

    func show(_ bytes: ArraySlice<UInt8>) {
        state.withLock { state in
            Self.erase(&state)
            writeToStandardError(bytes)
            for byte in bytes {
                if byte == UInt8(ascii: "\n") {
                    Self.endLine(&state)
                } else if state.line.count < Self.mark.utf8.count + Self.maximumTitle {
                    state.line.append(byte)
                }
            }
            state.endsLine = (bytes.last ?? UInt8(ascii: "\n")) == UInt8(ascii: "\n")
        }
    }

    private static func endLine(_ state: inout State) {
        let line = String(decoding: state.line, as: UTF8.self)
        state.line.removeAll(keepingCapacity: true)
        guard line.hasPrefix(mark) else { return }
        let title = line.dropFirst(mark.count)
        let hasEnded = title.contains(": done in ") || title.contains(": failed after ")
        state.phase = hasEnded ? nil : (printable(String(title)), .now)
    }

    private static func erase(_ state: inout State) {
        if state.isDrawn { writeToStandardError("\r\u{1B}[K") }
        state.isDrawn = false
    }

    /// Runs work and, on a terminal, shows each second for how long its phase has lasted.
    func watch<Value: Sendable>(_ work: @escaping @Sendable () async -> Value) async -> Value {
        let ticks = isTerminal ? Task { while (try? await Task.sleep(for: .seconds(1))) != nil { draw() } } : nil
        let value = await work()
        ticks?.cancel()
        await ticks?.value
        state.withLock { state in
            Self.erase(&state)
            if !state.endsLine { writeToStandardError("\n") }
        }
        return value
    }

    private func draw() {
        state.withLock { state in
            guard state.endsLine, let phase = state.phase else { return }
            state.isDrawn = true
            let seconds = (ContinuousClock.now - phase.begun).components.seconds
            writeToStandardError("\r\u{1B}[K       \(phase.title), for \(seconds) s")
        }
    }
}
