import CLinux
import Foundation
import Glibc
import JSON

/// Why a step could not be run apart from everything else.
public enum SandboxError: Error, Hashable, Sendable {
    /// A system call on a path, or on what is named, failed with this code.
    case system(String, Int32)
    /// A program that the isolation needs is missing.
    case missing(program: String, package: String)
    /// A program of the steps is not where `cistern` is.
    case noStep(path: String)
    /// The isolation itself failed, before the step's program ran.
    case isolation(String)
}

extension SandboxError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .system(let what, let code): "\(what): \(String(cString: strerror(code)))"
        case .missing(let program, let package):
            "'\(program)' is missing, which keeps what is run apart from this machine: install the package \(package)"
        case .noStep(let path): "there is no program \(path): those of the steps lie beside 'cistern'"
        case .isolation(let reason): "what is run can't be kept apart from this machine: \(reason)"
        }
    }
}

/// What a step may use.
public struct SandboxLimits: Hashable, Sendable {
    /// Bytes of memory, page cache of its own files included.
    public var memory: Int64 = 2 << 30
    /// Processes and threads at a time.
    public var processes = 1024
    /// How many processors' time it gets.
    public var processors = 2.0
    /// Bytes of the files that it makes.
    public var disk: Int64 = 4 << 30
    /// How long it may take.
    public var time: Duration = .seconds(900)
    /// Bytes that it may print.
    public var output: Int64 = 32 << 20

    public init() {}
}

/// How a step ended.
public enum SandboxEnd: Hashable, Sendable {
    /// The program's exit code; 128 and the signal's number if a signal ended it.
    case exited(Int32)
    /// The system ended a process of the step for want of memory, and the program failed.
    case outOfMemory
    case timedOut
    case printedTooMuch
    case cancelled
}

/// Runs one program of a step inside a root filesystem, in user, mount, pid, network, IPC and UTS namespaces of its own,
/// made by bubblewrap. Nothing of this machine is in it but what is named here; it has no network, no capability, can
/// make no user namespaces, and the calls of `SystemCallFilter` fail. It ends with all its descendants when its program
/// or this process ends.
///
/// If this process is root, the step has a host uid of its own, its files lie in a file system of a fixed size, and a
/// `ControlGroup` bounds what it uses. An ordinary user's step has the user's uid, and weaker limits: `weaknesses`.
public struct Sandbox: Sendable {
    /// A directory or file of this machine that the step sees.
    public struct Mount: Hashable, Sendable {
        public let source: String
        public let target: String

        public init(source: String, target: String) {
            self.source = source
            self.target = target
        }
    }

    /// The user and group that the step sees itself as.
    public static let user: UInt32 = 2000
    /// Directories that a root filesystem needs for what is mounted there.
    public static let mountPoints = [
        "home/vcap", "lifecycle", "out", "recipe_workspace", "tmp", "var/lib/buildpacks", "proc", "dev",
    ]

    /// The directory of the unpacked root filesystem, which the step can't change.
    public var rootfs: String
    /// What the step sees besides, and can't change.
    public var mounts: [Mount] = []
    /// Paths in the root filesystem that the step may write to. At first they have what `initial(_:)` has.
    public var writable = ["/home/vcap", "/out", "/tmp"]
    /// An empty directory for this step alone.
    public var directory: String
    /// The uid on this machine; nil: this process's own, which is not 0.
    public var hostUser: UInt32?
    public var limits = SandboxLimits()
    /// nil: the step has no network.
    public var network: SandboxNetwork?
    /// Whether the program is process 1 of its pid namespace, and not a child of bubblewrap's own.
    public var isProcessOne = false

    public init(rootfs: String, directory: String, hostUser: UInt32?) {
        self.rootfs = rootfs
        self.directory = directory
        self.hostUser = hostUser
    }

    /// The programs that are needed, and the Debian packages that have them.
    private static let programs = [
        ("bwrap", "bubblewrap"), ("prlimit", "util-linux"), ("setpriv", "util-linux"), ("unshare", "util-linux"),
        ("mount", "mount"),
        ("mkfs.ext4", "e2fsprogs"),
    ]
    static let path = "/usr/sbin:/usr/bin:/sbin:/bin"

    /// - Throws: `.missing` for the first program that is not there.
    public static func check(hasNetwork: Bool = false) throws(SandboxError) {
        for (program, package) in programs + (hasNetwork ? SandboxNetwork.programs : [])
        where hasNetwork || geteuid() == 0 || ["bwrap", "prlimit", "setpriv"].contains(program) {
            let found = path.split(separator: ":").contains { access("\($0)/\(program)", X_OK) == 0 }
            if !found { throw .missing(program: program, package: package) }
        }
    }
}

extension Sandbox {
    /// What bubblewrap is told. It reads this from a file, since its arguments can be seen from inside.
    func options(environment: [(name: String, value: String)], at directory: String) -> [String] {
        var options = [
            "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
            "--unshare-cgroup-try", "--disable-userns", "--new-session", "--die-with-parent", "--cap-drop", "ALL",
            "--uid", "\(Self.user)", "--gid", "\(Self.user)", "--hostname", "staging",
            "--ro-bind", hostUser == nil ? rootfs : Self.passable + "/rootfs", "/", "--proc", "/proc", "--dev", "/dev",
        ]
        for path in writable {
            options += [
                "--bind", hostUser == nil ? scratch(path) : "\(Self.passable)/scratch/\(Self.name(path))", path,
            ]
        }
        for (number, mount) in mounts.enumerated() {
            options += ["--ro-bind", hostUser == nil ? mount.source : "\(Self.passable)/mount-\(number)", mount.target]
        }
        if network != nil { options += ["--block-fd", "6"] }
        if isProcessOne { options.append("--as-pid-1") }
        options.append("--clearenv")
        for (name, value) in environment { options += ["--setenv", name, value] }
        return options + ["--chdir", directory]
    }

    /// Where a writable path lies on this machine.
    func scratch(_ path: String) -> String { "\(directory)/scratch/\(Self.name(path))" }

    /// A directory of this machine with which a writable path begins, if the caller made it. The step owns the copies.
    func initial(_ path: String) -> String { "\(directory)/initial/\(Self.name(path))" }

    private static func name(_ path: String) -> String { path.split(separator: "/").joined(separator: "_") }

    /// Where the directory is mounted as well, in the step's mount namespace, for root's steps: their uid can't pass the
    /// directories above it, nor those above what they may see.
    private static let passable = "/mnt"

    /// Where root mounts what the step may see.
    private func place(_ number: Int) -> String { "\(directory)/mount-\(number)" }

    /// Becomes the step: joins the control groups, mounts what the step sees where it may look, and gives up root.
    /// Everything that is mounted here is gone with the last process, since the mount namespace is.
    ///
    /// Arguments: the step's directory, its uid or nothing, the user's name for files, whether to mount, then what to run.
    private static let script = """
        set -eu
        directory=$1 uid=$2; shift 2
        for file in $JOIN; do echo $$ >"$file"; done
        if [ -n "$uid" ]; then
            mount -t ext4 -o loop,nosuid,nodev "$directory/scratch.img" "$directory/scratch"
            for name in $WRITABLE; do
                [ ! -d "$directory/scratch/$name" ] || continue
                mkdir -m 0700 "$directory/scratch/$name"
                [ ! -d "$directory/initial/$name" ] || cp -Rp "$directory/initial/$name/." "$directory/scratch/$name"
                chown -hR "$uid:$uid" "$directory/scratch/$name"
            done
            while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
            mount --rbind "$directory" /mnt
            shift
            set -- prlimit --nproc="$PROCESSES" setpriv --reuid "$uid" --regid "$uid" --clear-groups --inh-caps=-all --bounding-set=-all \\
                --no-new-privs env -i PATH="$PATH" bwrap --args 3 --seccomp 4 --json-status-fd 5 -- "$@"
        else
            for name in $WRITABLE; do
                [ ! -d "$directory/initial/$name" ] || cp -Rp "$directory/initial/$name/." "$directory/scratch/$name"
            done
            shift
            set -- env -i PATH="$PATH" bwrap --args 3 --seccomp 4 --json-status-fd 5 -- "$@"
        fi
        exec 3<"$directory/options" 4<"$directory/filter" 5>"$directory/status"
        [ ! -p "$directory/go" ] || exec 6<>"$directory/go"
        exec prlimit --core=0 --nofile=4096:4096 "$@"
        """

    /// Runs a program to its end.
    /// - Parameters:
    ///   - command: the program's path in the root filesystem, and its arguments, which other users of this machine see.
    ///   - environment: all of the program's environment.
    ///   - workingDirectory: a path in the root filesystem.
    ///   - print: gets standard output and standard error as they come.
    /// - Throws: `SandboxError` if the program was not run.
    public func run(
        _ command: [String], environment: [(name: String, value: String)] = [], workingDirectory: String = "/",
        print: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) async throws(SandboxError) -> SandboxEnd {
        try Self.check(hasNetwork: network != nil)
        guard command.allSatisfy({ !$0.utf8.contains(0) }) else { throw .isolation("an argument has a NUL") }
        try prepare(options(environment: environment, at: workingDirectory))
        defer { clean() }
        // Only root can give the step a uid of its own, on which a bound of processes means something.
        let group = ControlGroup(name: ControlGroup.name(), limits: limits)
        defer { group.remove() }

        var arguments = ["/bin/sh", "-c", Self.script, "sandbox", directory, hostUser.map { "\($0)" } ?? ""]
        if hostUser != nil {
            arguments += [rootfs, directory + "/rootfs"]
            for (number, mount) in mounts.enumerated() { arguments += [mount.source, place(number)] }
        }
        arguments += ["--"] + command
        if hostUser != nil {
            arguments = ["/usr/bin/unshare", "--mount", "--propagation", "slave", "--"] + arguments
        }
        let variables = [
            "PATH": Self.path, "JOIN": group.joinFiles.joined(separator: " "), "PROCESSES": "\(limits.processes)",
            "WRITABLE": writable.map(Self.name).joined(separator: " "),
        ]
        let process = SandboxedProcess(arguments, environment: variables, limits: limits, print: print)
        let ended = try await run(process)
        guard case .exited = ended else { return ended }
        // bubblewrap's own failures have exit codes, too; the program's is written only if there was a program.
        guard
            let code = Self.exitCode(
                status: (try? String(contentsOfFile: directory + "/status", encoding: .utf8)) ?? "")
        else { throw .isolation("its preparation failed, as is said above") }
        return code != 0 && group.outOfMemory > 0 ? .outOfMemory : .exited(code)
    }

    /// Runs the step's process, beside its network if it has one.
    private func run(_ process: SandboxedProcess) async throws(SandboxError) -> SandboxEnd {
        guard let network else { return try await process.run() }
        let (directory, isRoot) = (directory, hostUser != nil)
        do {
            return try await withThrowingTaskGroup(of: SandboxEnd?.self) { group in
                group.addTask { try await process.run() }
                group.addTask {
                    do { try await network.run(in: directory, isRoot: isRoot) } catch is CancellationError {}
                    return nil
                }
                defer { group.cancelAll() }
                // If the network fails, so does the step: what waits for it would wait for ever.
                while let next = try await group.next() {
                    if let next { return next }
                }
                return .cancelled
            }
        } catch let error as SandboxError {
            throw error
        } catch {
            throw .isolation("\(error)")
        }
    }

    /// The program's exit code in what bubblewrap reported: JSON documents, one a line.
    static func exitCode(status: String) -> Int32? {
        for line in status.split(separator: "\n") {
            let json = try? JSONValue(parsing: String(line))
            if let code = json?["exit-code"]?.integer { return Int32(clamping: code) }
        }
        return nil
    }

    /// Shows what the step wrote, which it can't change any more and which runs nothing.
    /// - Parameter body: gets the directory of a writable path.
    public func withFiles<Result: Sendable>(
        of path: String, _ body: (String) async throws -> Result
    ) async throws -> Result {
        guard hostUser != nil else { return try await body(scratch(path)) }
        try Self.call(
            "mount",
            ["-t", "ext4", "-o", "loop,ro,nosuid,nodev,noexec", directory + "/scratch.img", directory + "/scratch"])
        do {
            let result = try await body(scratch(path))
            try Self.call("umount", ["-l", directory + "/scratch"])
            return result
        } catch {
            try Self.call("umount", ["-l", directory + "/scratch"])
            throw error
        }
    }

    /// Unmounts what `withFiles` of a process that was killed left mounted below a directory.
    static func unmountLeftovers(below directory: String) {
        let mounts = (try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)) ?? ""
        for line in mounts.split(separator: "\n").reversed() {
            // proc(5): the fifth field is where it is mounted.
            let fields = line.split(separator: " ")
            if fields.count > 4, fields[4].hasPrefix(directory + "/") {
                try? call("umount", ["-l", String(fields[4])])
            }
        }
    }

    /// Runs a program of this machine to its end.
    /// - Throws: `.isolation` if it can't be run, or fails.
    static func call(_ program: String, _ arguments: [String]) throws(SandboxError) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.environment = ["PATH": path]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { throw .isolation("\(program) can't be run") }
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw .isolation("\(program) failed with \(process.terminationStatus)")
        }
    }

    /// Makes the files and directories that the script needs.
    private func prepare(_ options: [String]) throws(SandboxError) {
        guard options.allSatisfy({ !$0.utf8.contains(0) }) else { throw .isolation("a variable has a NUL") }
        try SystemCallFilter.write(to: directory + "/filter")
        let text = options.map { $0 + "\0" }.joined()
        guard
            FileManager.default.createFile(
                atPath: directory + "/options", contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
        else { throw .system(directory + "/options", errno) }
        for name in ["go", "ready"] where network != nil && mkfifo("\(directory)/\(name)", 0o600) != 0 {
            throw .system("\(directory)/\(name)", errno)
        }
        try makeDirectory(directory + "/scratch", 0o755)
        guard hostUser != nil else {
            for path in writable { try makeDirectory(scratch(path), 0o700) }
            return
        }
        try makeDirectory(directory + "/rootfs", 0o755)
        for (number, mount) in mounts.enumerated() {
            var status = stat()
            guard stat(mount.source, &status) == 0 else { throw .system(mount.source, errno) }
            if status.st_mode & S_IFMT == S_IFDIR { try makeDirectory(place(number), 0o755); continue }
            guard FileManager.default.createFile(atPath: place(number), contents: nil) else {
                throw .system(place(number), errno)
            }
        }
        let image = directory + "/scratch.img"
        if access(image, F_OK) == 0 { return }
        let descriptor = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(image, errno) }
        defer { close(descriptor) }
        guard ftruncate(descriptor, Int(limits.disk)) == 0 else { throw .system(image, errno) }
        // Nothing is kept for root, and no journal: after a crash the step is run again from the start.
        try Self.call(
            "mkfs.ext4", ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=1", image])
    }

    private func makeDirectory(_ path: String, _ mode: mode_t) throws(SandboxError) {
        guard mkdir(path, mode) == 0 || errno == EEXIST else { throw .system(path, errno) }
        chmod(path, mode)
    }

    /// Removes what only this run needs; what the step wrote stays.
    private func clean() {
        for name in ["filter", "options", "status", "go", "ready"] { unlink("\(directory)/\(name)") }
    }

    /// What of the limits does not hold here, and why, in sentences for people; empty if all hold.
    public var weaknesses: [String] {
        let probe = ControlGroup.own.map(\.controller)
        var weak: [String] = []
        let why = "this process may make no control group for it"
        if !probe.contains(.memory) { weak.append("memory is not bounded in sum: \(why)") }
        if !probe.contains(.pids), hostUser == nil { weak.append("the number of processes is not bounded: \(why)") }
        if !probe.contains(.cpu) { weak.append("the time of the processors is not shared out: \(why)") }
        if hostUser == nil {
            weak.append(
                "disk is not bounded, and what is run has your own user id: only root can give it one of its own")
        }
        return weak
    }
}
