import Foundation

/// What a program said, and how it ended.
public struct CommandResult: Sendable {
    /// The exit status, or 128 + the signal that ended it.
    public let status: Int32
    public let stdout: [UInt8]
    public let stderr: [UInt8]

    /// What it printed, without the white space around it.
    public var output: String {
        String(decoding: stdout, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
    public var errors: String {
        String(decoding: stderr, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

/// Why a program gave no result. A missing program is a failure of the test, never a reason to skip it.
public enum CommandError: Error, CustomStringConvertible {
    case notFound(String)
    case notStarted(String, Int32)
    case timedOut(String, Duration, said: String)
    case tooMuchOutput(String, Int)
    case failed(String, CommandResult)

    public var description: String {
        switch self {
        case .notFound(let program): "there is no '\(program)' here: .ci/install build test"
        case .notStarted(let program, let code): "can't start \(program): \(String(cString: strerror(code)))"
        case .timedOut(let command, let limit, let said): "not done within \(limit): \(command)\n\(said)"
        case .tooMuchOutput(let command, let limit): "over \(limit) bytes of output: \(command)"
        case .failed(let command, let result): "status \(result.status): \(command)\n\(result.output)\n\(result.errors)"
        }
    }
}

/// Runs a program to its end and collects what it says.
/// - Parameters:
///   - environment: added to this process's own.
///   - input: its standard input, at most 60,000 bytes.
///   - timeout: after it the program and its process group are killed.
///   - outputLimit: bytes of each output, after which it is killed too.
/// - Throws: `CommandError`, but not for a status other than 0.
public func run(
    _ program: String, _ arguments: [String] = [], environment: [String: String] = [:], directory: String? = nil,
    input: String = "", timeout: Duration = .seconds(60), outputLimit: Int = 16 << 20
) async throws -> CommandResult {
    let deadline = ContinuousClock.now + timeout
    return try await onThread {
        let (stdin, stdout, stderr) = (try Stream(), try Stream(), try Stream())
        guard input.utf8.count <= 60_000 else { throw CommandError.tooMuchOutput("input of \(program)", 60_000) }
        // The socket's buffer holds 200 KB: this can't block.
        var text = input
        _ = text.withUTF8 { write(stdin.writeEnd, $0.baseAddress, $0.count) }
        stdin.closeWriteEnd()
        let child = try ChildProcess(
            program, arguments, environment: environment, directory: directory,
            input: stdin.readEnd, output: stdout.writeEnd, errors: stderr.writeEnd)
        stdout.closeWriteEnd()
        stderr.closeWriteEnd()
        defer { child.killGroup() }

        // The end of the process counts, not that of its outputs: a daemon it leaves behind may hold those.
        var hasEnded = false
        while !hasEnded {
            var waited = [stdout.readEnd, stderr.readEnd, child.ended].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            if stdout.atEnd { waited[0].fd = -1 }
            if stderr.atEnd { waited[1].fd = -1 }
            _ = poll(&waited, 3, milliseconds(until: deadline))
            hasEnded = waited[2].revents != 0
            stdout.drain()
            stderr.drain()
            guard max(stdout.bytes.count, stderr.bytes.count) <= outputLimit else {
                throw CommandError.tooMuchOutput(child.command, outputLimit)
            }
            if !hasEnded && ContinuousClock.now >= deadline {
                let said = String(decoding: (stdout.bytes + stderr.bytes).suffix(4000), as: UTF8.self)
                throw CommandError.timedOut(child.command, timeout, said: said)
            }
        }
        return CommandResult(status: child.exitStatus ?? -1, stdout: stdout.bytes, stderr: stderr.bytes)
    }
}

/// As `run`, for programs that have to succeed.
/// - Throws: `CommandError`, `.failed` for a status other than 0.
@discardableResult
public func runSuccessfully(
    _ program: String, _ arguments: [String] = [], environment: [String: String] = [:], directory: String? = nil,
    input: String = "", timeout: Duration = .seconds(60)
) async throws -> CommandResult {
    let result = try await run(
        program, arguments, environment: environment, directory: directory, input: input, timeout: timeout)
    guard result.status == 0 else {
        throw CommandError.failed(([program] + arguments).joined(separator: " "), result)
    }
    return result
}

/// One of a child's standard streams. Used by one thread.
private final class Stream {
    let readEnd: Int32
    private(set) var writeEnd: Int32
    private(set) var bytes: [UInt8] = []
    private(set) var atEnd = false

    init() throws {
        (readEnd, writeEnd) = try channel()
    }

    deinit {
        close(readEnd)
        closeWriteEnd()
    }

    func closeWriteEnd() {
        if writeEnd >= 0 { close(writeEnd) }
        writeEnd = -1
    }

    /// Takes what is there now, without waiting for more.
    func drain() {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var readable = pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0)
        while !atEnd, poll(&readable, 1, 0) > 0 {
            let count = read(readEnd, &buffer, buffer.count)
            if count > 0 { bytes += buffer[..<count] }
            if count == 0 || (count < 0 && errno != EINTR) { atEnd = true }
        }
    }
}
