import Glibc
import NIOPosix
import Synchronization

/// Takes log lines without making their writers wait: a thread of its own writes them in batches, at most 20 ms later.
///
/// At most `maximum` bytes wait. Lines that do not fit are dropped, counted and reported, so that a stuck reader of
/// the log can't stop the server. Call `flush` before the process ends.
public final class LogSink: Sendable {
    private struct State {
        var lines: [UInt8] = []
        var lost = 0
        var isScheduled = false
    }

    /// How long lines are gathered, in microseconds.
    private static let gathering: UInt32 = 20_000

    private let maximum: Int
    private let write: @Sendable ([UInt8]) -> Void
    private let state = Mutex(State())
    /// Held while writing, so that batches keep their order.
    private let writing = Mutex(())
    private let thread = NIOThreadPool(numberOfThreads: 1)

    /// - Parameters:
    ///   - descriptor: standard error unless told otherwise.
    ///   - maximum: how many bytes may wait to be written.
    public convenience init(descriptor: Int32 = 2, maximum: Int = 4 << 20) {
        self.init(maximum: maximum) { Self.writeAll($0, to: descriptor) }
    }

    /// - Parameter write: called with whole lines.
    init(maximum: Int, write: @escaping @Sendable ([UInt8]) -> Void) {
        self.maximum = maximum
        self.write = write
        thread.start()
    }

    deinit { thread.shutdownGracefully { _ in } }

    /// Queues lines, each with its line break. They are dropped if they do not fit.
    func append(_ line: some Collection<UInt8>) {
        let mustSchedule = state.withLock { state in
            guard state.lines.count + line.count <= maximum else {
                state.lost += 1
                return false
            }
            state.lines.append(contentsOf: line)
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        guard mustSchedule else { return }
        thread.submit { _ in
            usleep(Self.gathering)
            self.flush()
        }
    }

    /// Writes all queued lines, on the calling thread.
    public func flush() {
        writing.withLock { _ in
            let (lines, lost) = state.withLock { state in
                defer { state = State() }
                return (state.lines, state.lost)
            }
            guard !lines.isEmpty || lost > 0 else { return }
            write(
                lost == 0
                    ? lines
                    : lines + Array("{\"level\":\"warning\",\"msg\":\"lines were lost\",\"count\":\(lost)}\n".utf8))
        }
    }

    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
