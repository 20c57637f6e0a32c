import CLauncher
import Glibc

/// The system calls of the launcher, without any decisions.
package enum System {
    struct Failure: Error, Hashable {
        let code: Int32
        var reason: String { String(cString: strerror(code)) }
    }

    // MARK: This process

    package static var arguments: [SystemText] { texts(cistern_arguments()) }
    package static var environment: [SystemText] { texts(cistern_environment()) }
    static var isProcessOne: Bool { getpid() == 1 }

    private static func texts(_ array: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> [SystemText] {
        var texts: [SystemText] = []
        while let text = array?[texts.count] {
            texts.append(SystemText(bytes: UnsafeRawBufferPointer(start: text, count: strlen(text))))
        }
        return texts
    }

    package static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            rest.removeFirst(count)
        }
    }

    /// 16 random bytes.
    static func randomBytes() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 16)
        _ = getentropy(&bytes, bytes.count)
        return bytes
    }

    // MARK: Files

    static func workingDirectory() -> SystemText? {
        guard let path = getcwd(nil, 0) else { return nil }
        defer { free(path) }
        return SystemText(bytes: UnsafeRawBufferPointer(start: path, count: strlen(path)))
    }

    static func changeDirectory(_ path: SystemText) throws(Failure) {
        guard withCString(path, chdir) == 0 else { throw Failure(code: errno) }
    }

    /// Makes a directory if it is missing; ignores failures.
    static func ensureDirectory(_ path: SystemText) { _ = withCString(path) { mkdir($0, 0o755) } }

    static func isExecutable(_ path: SystemText) -> Bool { withCString(path) { access($0, X_OK) } == 0 }

    /// Whether a path exists, or may exist in a directory that this process can't search.
    static func exists(_ path: SystemText) -> Bool { withCString(path) { access($0, F_OK) } == 0 || errno == EACCES }

    /// Whether a path is a regular file, or a link to one.
    static func isFile(_ path: SystemText) -> Bool {
        var status = stat()
        return withCString(path) { stat($0, &status) } == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// The whole file, or nil if it is missing.
    ///
    /// - Throws: the error of the system; `EFBIG` if the file has more bytes than `limit`.
    static func contents(of path: SystemText, limit: Int) throws(Failure) -> [UInt8]? {
        let descriptor = withCString(path) { open($0, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw Failure(code: errno)
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw Failure(code: errno) }
            if count == 0 { return bytes }
            bytes += piece[..<count]
            guard bytes.count <= limit else { throw Failure(code: EFBIG) }
        }
    }

    /// The names in a directory, in byte order; none if it can't be read.
    static func names(in directory: SystemText) -> [SystemText] {
        guard let stream = withCString(directory, opendir) else { return [] }
        defer { closedir(stream) }
        var names: [SystemText] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { SystemText(bytes: $0) }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    // MARK: Programs

    /// Replaces this process by the program. - Returns: why that failed; nothing if it does not fail.
    static func execute(_ plan: LaunchPlan) -> LauncherError {
        let attempt = attempt(plan) { path, arguments, environment in
            execve(path, arguments, environment)
        }
        return attempt.failure
    }

    /// Starts the program as a child with all signals at their defaults and none blocked.
    /// - Parameter newSession: the child leads a session of its own and takes the terminal on standard input, if there
    ///   is one.
    /// - Returns: the child's process ID.
    /// - Throws: `.notFound` or `.notExecutable`.
    static func spawn(_ plan: LaunchPlan, newSession: Bool) throws(LauncherError) -> Int32 {
        let attempt = attempt(plan) { path, arguments, environment in
            cistern_spawn(path, arguments, environment, newSession)
        }
        guard attempt.result > 0 else { throw attempt.failure }
        return attempt.result
    }

    private typealias CStrings = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

    /// Tries the program's candidates in turn until `start` returns a positive number for one.
    private static func attempt(
        _ plan: LaunchPlan, _ start: (UnsafePointer<CChar>, CStrings, CStrings) -> Int32
    ) -> (result: Int32, failure: LauncherError) {
        func attempt(_ path: SystemText, _ arguments: [SystemText]) -> Int32 {
            withCString(path) { path in
                withCStrings(arguments) { arguments in
                    withCStrings(plan.environment.entries) { environment in start(path, arguments, environment) }
                }
            }
        }
        var failure = LauncherError.notFound(name: plan.name, reason: Failure(code: ENOENT).reason)
        // A candidate that does not exist is skipped, since trying it may cost a new process.
        for candidate in plan.candidates where exists(candidate) {
            var result = attempt(candidate, plan.arguments)
            if result <= 0 && errno == ENOEXEC {
                // A script without `#!` is run by a shell, as execvp(3) does.
                result = attempt("/bin/sh", ["/bin/sh", candidate] + plan.arguments.dropFirst())
            }
            guard result <= 0 else { return (result, failure) }
            let reason = Failure(code: errno)
            switch reason.code {
            case ENOENT:
                return (result, .notFound(name: plan.name, reason: "its interpreter or loader is not in this image"))
            case EACCES: failure = .notExecutable(name: plan.name, reason: reason.reason)
            default: return (result, .notExecutable(name: plan.name, reason: reason.reason))
            }
        }
        return (-1, failure)
    }

    /// Gives up the controlling terminal.
    ///
    /// - Returns: whether the kernel sends SIGHUP and SIGCONT to this process because of that.
    static func leaveTerminal() -> Bool {
        ioctl(STDIN_FILENO, UInt(TIOCNOTTY)) == 0 && getsid(0) == getpid()
    }

    // MARK: Signals

    static func blockSignals() {
        var all = sigset_t()
        sigfillset(&all)
        sigprocmask(SIG_BLOCK, &all, nil)
        // While SIGCHLD is ignored, the kernel reaps children itself, and their status is lost.
        signal(SIGCHLD, SIG_DFL)
    }

    /// Sleeps until a blocked signal is pending, and takes it.
    ///
    /// - Returns: the signal; nil after `seconds`, or if the sleep ended for another reason.
    static func waitForSignal(seconds: Int?) -> Int32? {
        var all = sigset_t()
        sigfillset(&all)
        let number: Int32
        if let seconds {
            var time = timespec(tv_sec: seconds, tv_nsec: 0)
            number = sigtimedwait(&all, nil, &time)
        } else {
            number = sigwaitinfo(&all, nil)
        }
        return number > 0 ? number : nil
    }

    static func send(_ signal: Int32, to process: Int32) { kill(process, signal) }

    static func groupExists(_ group: Int32) -> Bool { kill(-group, 0) == 0 || errno != ESRCH }

    /// Reaps the next child that has ended; nil if none has.
    static func reap() -> (process: Int32, end: ProcessEnd)? {
        var status: Int32 = 0
        while true {
            let process = waitpid(-1, &status, WNOHANG)
            if process < 0 && errno == EINTR { continue }
            return process > 0 ? (process, ProcessEnd(status: status)) : nil
        }
    }

    // MARK: Text for C

    private static func withCString<Result>(
        _ text: SystemText, _ body: (UnsafePointer<CChar>) throws -> Result
    ) rethrows -> Result {
        let copy = text.bytes.withUnsafeBytes(copy)
        defer { copy.deallocate() }
        return try body(copy)
    }

    /// An array of C strings that ends with NULL.
    private static func withCStrings<Result>(_ texts: [SystemText], _ body: (CStrings) -> Result) -> Result {
        let array = CStrings.allocate(capacity: texts.count + 1)
        for (index, text) in texts.enumerated() { array[index] = text.bytes.withUnsafeBytes(copy) }
        array[texts.count] = nil
        defer {
            for index in texts.indices { array[index]?.deallocate() }
            array.deallocate()
        }
        return body(array)
    }

    private static func copy(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutablePointer<CChar> {
        let copy = UnsafeMutableRawPointer.allocate(byteCount: bytes.count + 1, alignment: 1)
        copy.copyMemory(from: bytes.baseAddress ?? UnsafeRawPointer(copy), byteCount: bytes.count)
        copy.storeBytes(of: 0, toByteOffset: bytes.count, as: UInt8.self)
        return copy.assumingMemoryBound(to: CChar.self)
    }
}
