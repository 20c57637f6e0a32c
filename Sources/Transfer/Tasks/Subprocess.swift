import CLinux
import Glibc
import Runtime
import Synchronization

/// The process groups of the programs that run for a step, so that a signal that ends the step ends them, too.
package final class ProcessGroups: Sendable {
    private let groups = Mutex<Set<pid_t>>([])

    package init() {}

    fileprivate func add(_ group: pid_t) { groups.withLock { _ = $0.insert(group) } }
    fileprivate func remove(_ group: pid_t) { groups.withLock { _ = $0.remove(group) } }

    /// Kills them all. What they leave undone is left.
    package func killAll() {
        groups.withLock { groups in for group in groups { kill(-group, SIGKILL) } }
    }

    /// Lets SIGTERM, SIGINT and SIGHUP end this process at once, and the programs that run for it. Called before
    /// there is a second thread.
    package func endWithSignals() {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
        let waited = set
        _ = SystemThread.start(named: "signals") { [self] in
            var waited = waited
            var number: Int32 = 0
            while sigwait(&waited, &number) != 0 {}
            killAll()
            // Nothing has to be put in order: whatever is incomplete has no name that another step knows.
            _exit(128 + number)
        }
    }
}

private final class Flag: Sendable {
    let isSet = Atomic(false)
}

/// A program that is run to its end.
struct Subprocess: Sendable {
    let path: String
    let arguments: [String]
    let environment: [String: String]
    let groups: ProcessGroups

    struct Result: Sendable {
        /// The exit status, or 128 + the signal that ended it.
        let status: Int32
        /// The end of what it said on standard output and on standard error, at most `maximumText` bytes each.
        let output: String
        let errors: String
        let isTimedOut: Bool
    }

    static let maximumText = 16 << 10

    /// Finds a program in a search path; nil if it is not there.
    static func find(_ program: String, in searchPath: String) -> String? {
        searchPath.split(separator: ":").map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
    }

    /// Runs the program in a process group of its own, which is killed when the time is over, when the task is
    /// cancelled, or when the program has ended and left somebody behind.
    /// - Throws: `TransferFailure`, `.file` if it can't be started.
    func run(until deadline: ContinuousClock.Instant) async throws -> Result {
        let cancelled = Flag()
        return try await withTaskCancellationHandler {
            let result = await withCheckedContinuation {
                (done: CheckedContinuation<Swift.Result<Result, TransferFailure>, Never>) in
                let started = SystemThread.start(named: "subprocess") {
                    done.resume(
                        returning: Swift.Result { () throws(TransferFailure) in
                            try runHere(until: deadline) { cancelled.isSet.load(ordering: .relaxed) }
                        })
                }
                if !started { done.resume(returning: .failure(TransferFailure(.file, "there are no threads left"))) }
            }
            return try result.get()
        } onCancel: {
            cancelled.isSet.store(true, ordering: .relaxed)
        }
    }

    private func runHere(
        until deadline: ContinuousClock.Instant, isCancelled: () -> Bool
    ) throws(TransferFailure) -> Result {
        var out: [Int32] = [-1, -1]
        var err: [Int32] = [-1, -1]
        // Other programs that are started meanwhile get none of these: `spawn` closes what is not theirs.
        guard pipe(&out) == 0, pipe(&err) == 0 else { throw .file(path) }
        defer { for descriptor in out + err where descriptor >= 0 { close(descriptor) } }
        let child: pid_t
        do throws(SpawnError) {
            child = try spawn(
                path, arguments, environment: environment.map { Array("\($0)=\($1)".utf8) }, output: out[1],
                errors: err[1])
        } catch {
            throw .file(path, error.code)
        }
        groups.add(child)
        defer {
            kill(-child, SIGKILL)
            groups.remove(child)
        }
        close(out[1])
        close(err[1])
        (out[1], err[1]) = (-1, -1)
        var texts: [[UInt8]] = [[], []]
        var waited = [out[0], err[0]].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        var isTimedOut = false
        var buffer = [UInt8](repeating: 0, count: 4096)
        while waited.contains(where: { $0.fd >= 0 }) {
            if ContinuousClock.now >= deadline || isCancelled() {
                isTimedOut = true
                break
            }
            // Short waits: the deadline and a cancellation are looked at in between.
            guard poll(&waited, 2, 100) > 0 else { continue }
            for index in waited.indices where waited[index].revents != 0 {
                let count = read(waited[index].fd, &buffer, buffer.count)
                if count < 0, errno == EINTR { continue }
                if count <= 0 { waited[index].fd = -1 }
                texts[index] += buffer.prefix(max(0, count))
                texts[index].removeFirst(max(0, texts[index].count - Self.maximumText))
            }
        }
        if isTimedOut { kill(-child, SIGKILL) }
        var status: Int32 = 0
        while waitpid(child, &status, WNOHANG) == 0 {
            // It has closed its outputs, and may go on all the same.
            if !isTimedOut, ContinuousClock.now >= deadline || isCancelled() {
                isTimedOut = true
                kill(-child, SIGKILL)
            }
            usleep(2000)
        }
        return Result(
            status: status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f),
            output: String(decoding: texts[0], as: UTF8.self), errors: String(decoding: texts[1], as: UTF8.self),
            isTimedOut: isTimedOut)
    }
}
