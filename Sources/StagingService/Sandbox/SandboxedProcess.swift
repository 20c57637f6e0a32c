import CLinux
import Foundation
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

    /// - Returns: what ended it; for a program that ended by itself, the exit code of the outermost process.
    /// - Throws: `.isolation` if nothing could be started.
    func run() async throws(SandboxError) -> SandboxEnd {
        let input = try inputFile()
        defer { if input >= 0 { close(input) } }
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else { throw .system("a pipe", errno) }
        let reading = FileHandle(fileDescriptor: ends[0], closeOnDealloc: true)
        let (output, outputEnd) = AsyncStream.makeStream(of: Void.self)
        let (exits, exit) = AsyncStream.makeStream(of: Int32.self)
        let process: pid_t
        do throws(SpawnError) {
            process = try spawn(
                command.first ?? "", Array(command.dropFirst()),
                environment: environment.map { Array("\($0)=\($1)".utf8) }, input: input, output: ends[1],
                errors: ends[1])
        } catch {
            close(ends[1])
            throw .system(error.path, error.code)
        }
        close(ends[1])
        reading.readabilityHandler = { handle in
            let data = handle.availableData
            guard !data.isEmpty else {
                handle.readabilityHandler = nil
                return outputEnd.finish()
            }
            self.pass(on: data)
        }
        state.withLock { $0.process = process }
        Thread.detachNewThread {
            var information = siginfo_t()
            while waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT) != 0, errno == EINTR {}
            // Reaped under the lock, so that nobody kills another process of the same number.
            let status = self.state.withLock { state in
                state.process = nil
                var status: Int32 = 0
                while waitpid(process, &status, 0) < 0, errno == EINTR {}
                return status
            }
            exit.yield(status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f)
            exit.finish()
        }

        let code = await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    if (try? await Task.sleep(for: self.limits.time)) != nil { self.end(.timedOut) }
                }
                var code: Int32 = 0
                for await one in exits { code = one }
                group.cancelAll()
                return code
            }
        } onCancel: {
            self.end(.cancelled)
        }
        // With the program's end its namespace ends, and with that everything that could still print.
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in output {} }
            group.addTask { try? await Task.sleep(for: Self.patience) }
            await group.next()
            group.cancelAll()
        }
        reading.readabilityHandler = nil
        return state.withLock { $0.reason } ?? .exited(code)
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

    private func pass(on data: Data) {
        let allowed = state.withLock { state in
            let allowed = max(0, min(Int64(data.count), limits.output - state.printed))
            state.printed += Int64(data.count)
            return Int(allowed)
        }
        if allowed > 0 { print(Array(data)[..<allowed]) }
        if allowed < data.count { end(.printedTooMuch) }
    }

    /// Ends everything: the outermost process ends bubblewrap's first process with it, and that one its namespace.
    private func end(_ reason: SandboxEnd) {
        state.withLock { state in
            guard let process = state.process else { return }
            if state.reason == nil { state.reason = reason }
            kill(process, SIGKILL)
        }
    }
}
