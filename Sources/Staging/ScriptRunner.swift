import CLinux
import Glibc
import Launcher
import Runtime

/// Runs the buildpacks' programs, one after the other, each in a process group of its own that ends with it.
struct ScriptRunner {
    /// How a program ended, and what was captured of its standard output.
    struct Result: Hashable {
        let end: ProcessEnd
        /// Empty unless it was to be captured.
        let output: [UInt8]
        /// Whether it was killed because it printed more than was allowed.
        let isTooMuch: Bool
    }

    let environment: Environment
    /// Where the programs' standard output goes unless it is captured, and their standard error.
    let log: Int32
    let errors: Int32
    let cancellation: Cancellation
    /// How long a program may take to end by itself after SIGTERM, in milliseconds.
    var graceTime = 5000
    /// Whether every child of this process belongs to the build, also those that left their process group: set where
    /// this process does nothing else and has become the parent of orphans.
    var ownsAllChildren = false

    /// Runs a program to its end. What is left of its group is killed then, so that nothing changes files later on or
    /// keeps an output open; a descendant that holds the captured output does not delay the end.
    /// - Parameters:
    ///   - limit: captures standard output, at most so many bytes. Nil: it goes to the log.
    /// - Throws: `.other` if the program can't be started, `.cancelled` after the group was ended.
    func run(_ program: String, _ arguments: [String], capturing limit: Int? = nil) throws(BuildError) -> Result {
        try cancellation.check()
        var pipe: (read: Int32, write: Int32)?
        if limit != nil { pipe = try Self.makePipe() }
        defer { if let pipe { close(pipe.read) } }
        let process: pid_t
        do throws(BuildError) {
            process = try start(program, arguments, output: pipe?.write ?? log)
        } catch {
            if let pipe { close(pipe.write) }
            throw error
        }
        if let pipe { close(pipe.write) }
        var capture = Capture(descriptor: pipe?.read ?? -1, limit: limit ?? 0)
        let wasCancelled = wait(for: process, &capture)
        // The group's leader is dead but not reaped yet: its id can't belong to another group.
        kill(-process, SIGKILL)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        if ownsAllChildren { Self.endAllChildren() }
        capture.drain()
        if wasCancelled { throw .cancelled }
        return Result(end: ProcessEnd(status: status), output: capture.bytes, isTooMuch: capture.isTooMuch)
    }

    /// What was read of a program's standard output.
    private struct Capture {
        let descriptor: Int32
        let limit: Int
        var bytes: [UInt8] = []
        var isTooMuch = false
        var isOpen: Bool { descriptor >= 0 && !atEnd && !isTooMuch }
        private var atEnd = false

        init(descriptor: Int32, limit: Int) {
            self.descriptor = descriptor
            self.limit = limit
        }

        /// Takes what is there, without waiting for more.
        mutating func drain() {
            var piece = [UInt8](repeating: 0, count: 16 << 10)
            while isOpen {
                let count = read(descriptor, &piece, piece.count)
                if count < 0 && errno == EINTR { continue }
                if count < 0 && errno == EAGAIN { return }
                guard count > 0 else { return atEnd = true }
                isTooMuch = count > limit - bytes.count
                bytes += piece[..<count].prefix(limit - bytes.count)
            }
        }
    }

    /// Waits until the process has ended, without reaping it.
    /// - Returns: whether the build was cancelled meanwhile.
    private func wait(for process: pid_t, _ capture: inout Capture) -> Bool {
        let ended = clinux_process_descriptor(process)
        defer { if ended >= 0 { close(ended) } }
        var killTime: ContinuousClock.Instant?
        while !Self.hasEnded(process) {
            // Where the kernel can't tell of the end, it is asked every 20 ms.
            var timeout: Int32 = ended >= 0 ? -1 : 20
            if let killTime {
                let left = ContinuousClock.now.duration(to: killTime)
                if left <= .zero { kill(-process, SIGKILL) }
                timeout = left <= .zero ? 20 : Int32(clamping: left.components.seconds * 1000 + 1000)
            }
            var polled = [
                ended, capture.isOpen ? capture.descriptor : -1, killTime == nil ? cancellation.descriptor : -1,
            ]
            .map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            _ = poll(&polled, nfds_t(polled.count), timeout)
            capture.drain()
            if capture.isTooMuch { kill(-process, SIGKILL) }
            if killTime == nil, polled[2].revents != 0 {
                kill(-process, SIGTERM)
                killTime = ContinuousClock.now + .milliseconds(graceTime)
            }
        }
        return killTime != nil
    }

    private static func hasEnded(_ process: pid_t) -> Bool {
        var information = siginfo_t()
        let result = waitid(P_PID, id_t(process), &information, WEXITED | WNOHANG | WNOWAIT)
        return result == 0 ? information.si_signo != 0 : errno == ECHILD
    }

    private static func makePipe() throws(BuildError) -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else { throw .system("make", "a pipe", errno) }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }

    private func start(_ program: String, _ arguments: [String], output: Int32) throws(BuildError) -> pid_t {
        do throws(SpawnError) {
            return try spawn(
                program, arguments, environment: environment.entries.map(\.bytes), output: output, errors: errors)
        } catch {
            throw BuildError(.other, "\(error)\(error.code == ENOEXEC ? " (a script begins with a line #!…)" : "")")
        }
    }

    /// Ends what left its process group and became a child of this process when its own parent ended.
    private static func endAllChildren() {
        let deadline = ContinuousClock.now + .seconds(5)
        while ContinuousClock.now < deadline {
            var status: Int32 = 0
            let reaped = waitpid(-1, &status, WNOHANG)
            if reaped < 0 && errno != EINTR { return }
            guard reaped == 0 else { continue }
            for child in children() { kill(child, SIGKILL) }
            usleep(1000)
        }
    }

    /// The children of this process; none where there is no /proc.
    private static func children() -> [pid_t] {
        guard let directory = opendir("/proc") else { return [] }
        defer { closedir(directory) }
        var children: [pid_t] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { $0.prefix { $0 != 0 }.map { $0 } }
            guard let process = pid_t(String(decoding: name, as: UTF8.self)), let bytes = Self.status(of: process),
                // proc(5): the parent's id is the second field after the name, which stands in parentheses.
                let end = bytes.lastIndex(of: UInt8(ascii: ")"))
            else { continue }
            let fields = bytes[(end + 1)...].split(separator: UInt8(ascii: " "))
            if fields.count > 1, pid_t(String(decoding: fields[1], as: UTF8.self)) == getpid() {
                children.append(process)
            }
        }
        return children
    }

    private static func status(of process: pid_t) -> [UInt8]? {
        let descriptor = open("/proc/\(process)/stat", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        return count > 0 ? Array(bytes[..<count]) : nil
    }
}
