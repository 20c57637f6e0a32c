import CLinux
import Glibc
import Runtime
import Synchronization

/// One run of a sandbox's processes: passes on what they print, and ends them at a limit.
final class SandboxedProcess: Sendable {
    private struct State {
        /// Why the processes were ended; nil if they end by themselves.
        var reason: SandboxEnd?
        var printed: Int64 = 0
        /// The outermost process; nil before it is started, and once it has ended.
        var process: pid_t?
        var hasEnded = false
    }

    /// How long what the program left behind may keep the output open after its end.
    private static let patience = Duration.seconds(5)

    private let command: [String]
    private let environment: [String: String]
    private let limits: SandboxLimits
    private let input: [UInt8]
    private let print: @Sendable (ArraySlice<UInt8>) -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - command: the path of a program, and its arguments.
    ///   - environment: all of its environment.
    ///   - input: what it reads on standard input.
    init(
        _ command: [String], environment: [String: String], limits: SandboxLimits, input: [UInt8] = [],
        print: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) {
        self.command = command
        self.environment = environment
        self.limits = limits
        self.input = input
        self.print = print
    }

    /// Runs it to its end, and ends it early if the caller's task is cancelled.
    /// - Returns: what ended it; for a program that ended by itself, the exit code of the outermost process.
    /// - Throws: `.system` or `.isolation` if nothing could be started.
    func run() async throws(SandboxError) -> SandboxEnd {
        let result = await withTaskCancellationHandler {
            await withTaskGroup(of: Result<Int32, SandboxError>?.self) { group in
                group.addTask {
                    if (try? await Task.sleep(for: self.limits.time)) != nil { self.end(.timedOut) }
                    return nil
                }
                group.addTask { await self.runOnThread() }
                var result: Result<Int32, SandboxError>?
                while result == nil, let next = await group.next() { result = next }
                group.cancelAll()
                return result ?? .failure(.isolation("it was not run"))
            }
        } onCancel: {
            self.end(.cancelled)
        }
        let code = try result.get()
        return state.withLock { $0.reason } ?? .exited(code)
    }

    /// Starts the process and follows it on one thread. The thread must live as long as the process: programs that end
    /// with their parent (PR_SET_PDEATHSIG) end with the thread that started them, and those of a pool come and go.
    private func runOnThread() async -> Result<Int32, SandboxError> {
        await withCheckedContinuation { done in
            let isStarted = SystemThread.start(named: "sandbox") {
                done.resume(
                    returning: Result { () throws(SandboxError) in
                        let output = try self.start()
                        return self.follow(output)
                    })
            }
            if !isStarted { done.resume(returning: .failure(.isolation("there are no threads left"))) }
        }
    }

    /// Starts the outermost process.
    /// - Returns: the end of the pipe that it prints into.
    private func start() throws(SandboxError) -> Int32 {
        let input = try inputFile()
        defer { if input >= 0 { close(input) } }
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else { throw .system("a pipe", errno) }
        defer { close(ends[1]) }
        do throws(SpawnError) {
            let process = try spawn(
                command.first ?? "", Array(command.dropFirst()),
                environment: environment.map { Array("\($0)=\($1)".utf8) }, input: input, output: ends[1],
                errors: ends[1])
            state.withLock { state in
                state.process = process
                // Its end may have been wanted before it began.
                if state.reason != nil { kill(process, SIGKILL) }
            }
        } catch {
            close(ends[0])
            throw .system(error.path, error.code)
        }
        return ends[0]
    }

    /// Passes on what is printed until the process has ended, and with it all that could still print.
    /// - Returns: the exit code; 128 and the signal's number if a signal ended it.
    private func follow(_ output: Int32) -> Int32 {
        defer { close(output) }
        guard let process = state.withLock({ $0.process }) else { return -1 }
        let ended = clinux_process_descriptor(process)
        defer { if ended >= 0 { close(ended) } }
        var polled = [
            pollfd(fd: output, events: Int16(POLLIN), revents: 0), pollfd(fd: ended, events: Int16(POLLIN), revents: 0),
        ]
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        var code: Int32?
        var last = ContinuousClock.now
        while code == nil || polled[0].fd >= 0 && ContinuousClock.now < last + Self.patience {
            // Where the kernel can't tell of the end, and after it, it is looked after every 50 ms.
            _ = poll(&polled, nfds_t(polled.count), ended >= 0 && code == nil ? -1 : 50)
            if polled[0].fd >= 0, polled[0].revents != 0 {
                let count = read(output, &piece, piece.count)
                if count > 0 { pass(on: piece[..<count]) } else if count == 0 || errno != EINTR { polled[0].fd = -1 }
            }
            if code == nil, let end = reap(process) {
                code = end
                last = ContinuousClock.now
                polled[1].fd = -1
            }
        }
        return code ?? -1
    }

    /// The exit code of the process if it has ended.
    private func reap(_ process: Int32) -> Int32? {
        // Under the lock, so that nobody kills another process of the same number.
        state.withLock { state in
            var status: Int32 = 0
            guard waitpid(process, &status, WNOHANG) == process else { return nil }
            state.process = nil
            state.hasEnded = true
            return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
        }
    }

    /// The input as a file without a name, which is gone with its last reader; -1 if there is none.
    private func inputFile() throws(SandboxError) -> Int32 {
        guard !input.isEmpty else { return -1 }
        let file = clinux_memory_file()
        guard file >= 0 else { throw .system("a file in memory", errno) }
        var rest = input[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            guard count > 0 else {
                close(file)
                throw .system("a file in memory", errno)
            }
            rest = rest.dropFirst(count)
        }
        lseek(file, 0, SEEK_SET)
        return file
    }

    private func pass(on bytes: ArraySlice<UInt8>) {
        let allowed = state.withLock { state in
            let allowed = max(0, min(Int64(bytes.count), limits.output - state.printed))
            state.printed += Int64(bytes.count)
            return Int(allowed)
        }
        if allowed > 0 { print(bytes.prefix(allowed)) }
        if allowed < bytes.count { end(.printedTooMuch) }
    }

    /// Ends everything: the outermost process ends bubblewrap's first process with it, and that one its namespace.
    private func end(_ reason: SandboxEnd) {
        state.withLock { state in
            guard !state.hasEnded else { return }
            if state.reason == nil { state.reason = reason }
            if let process = state.process { kill(process, SIGKILL) }
        }
    }
}
