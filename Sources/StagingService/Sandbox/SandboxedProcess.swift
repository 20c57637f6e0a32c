import Foundation
import Glibc
import Synchronization

/// One run of a sandbox's processes: passes on what they print, and ends them at a limit.
final class SandboxedProcess: Sendable {
    private struct State {
        /// Why the processes were ended; nil if they end by themselves.
        var reason: SandboxEnd?
        var printed: Int64 = 0
        var isRunning = false
    }

    /// How long what the program left behind may keep the output open after its end.
    private static let patience = Duration.seconds(5)

    private let process: Process
    private let limits: SandboxLimits
    private let print: @Sendable (ArraySlice<UInt8>) -> Void
    private let state = Mutex(State())

    init(_ process: Process, limits: SandboxLimits, print: @escaping @Sendable (ArraySlice<UInt8>) -> Void) {
        self.process = process
        self.limits = limits
        self.print = print
    }

    /// - Returns: what ended it; for a program that ended by itself, the exit code of the outermost process.
    /// - Throws: `.isolation` if nothing could be started.
    func run() async throws(SandboxError) -> SandboxEnd {
        let pipe = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        let (output, outputEnd) = AsyncStream.makeStream(of: Void.self)
        let (ends, end) = AsyncStream.makeStream(of: Int32.self)
        pipe.fileHandleForReading.readabilityHandler = { handle in
            let data = handle.availableData
            guard !data.isEmpty else {
                handle.readabilityHandler = nil
                return outputEnd.finish()
            }
            self.pass(on: data)
        }
        process.terminationHandler = {
            end.yield($0.terminationStatus)
            end.finish()
        }
        do {
            try state.withLock { state in
                try process.run()
                state.isRunning = true
            }
        } catch {
            pipe.fileHandleForReading.readabilityHandler = nil
            throw .isolation("no process can be started")
        }
        try? pipe.fileHandleForWriting.close()

        let code = await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    if (try? await Task.sleep(for: self.limits.time)) != nil { self.end(.timedOut) }
                }
                var code: Int32 = 0
                for await one in ends { code = one }
                group.cancelAll()
                return code
            }
        } onCancel: {
            self.end(.cancelled)
        }
        state.withLock { $0.isRunning = false }
        // With the program's end its namespace ends, and with that everything that could still print.
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in output {} }
            group.addTask { try? await Task.sleep(for: Self.patience) }
            await group.next()
            group.cancelAll()
        }
        pipe.fileHandleForReading.readabilityHandler = nil
        return state.withLock { $0.reason } ?? .exited(code)
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
            guard state.isRunning else { return }
            if state.reason == nil { state.reason = reason }
            kill(process.processIdentifier, SIGKILL)
        }
    }
}
