import Foundation
import Synchronization
import TestSupport
import Testing

@testable import StagingService

/// A build as it runs for root, in the tiny rootfs.
@Suite("A sandbox", .serialized, .timeLimit(.minutes(10)))
struct SandboxTests {
    static let hostUser: UInt32 = 1_900_000_001

    /// What a program printed, and how it ended.
    struct Run {
        let end: SandboxEnd
        let text: String
    }

    /// Runs a body with a sandbox in a directory of its own.
    static func with<Result: Sendable>(
        user: UInt32? = hostUser, _ body: (Sandbox) async throws -> Result
    ) async throws -> Result {
        try await withTemporaryDirectory { directory in
            chmod(directory, 0o711)
            let root = directory + "/root"
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
            try await runSuccessfully("tar", ["-xf", try await Fixtures.tinyRootfs(), "-C", root])
            for point in Sandbox.mountPoints {
                try FileManager.default.createDirectory(atPath: root + "/" + point, withIntermediateDirectories: true)
            }
            try FileManager.default.createDirectory(atPath: directory + "/step", withIntermediateDirectories: true)
            var sandbox = Sandbox(rootfs: root, directory: directory + "/step", hostUser: user)
            sandbox.limits.disk = 64 << 20
            sandbox.limits.memory = 256 << 20
            sandbox.limits.processes = 64
            sandbox.limits.time = .seconds(60)
            return try await body(sandbox)
        }
    }

    static func run(_ sandbox: Sandbox, _ script: String) async throws -> Run {
        let text = Mutex([UInt8]())
        let end = try await sandbox.run(
            ["/bin/sh", "-c", script], environment: [("PATH", "/usr/bin:/bin"), ("GREETING", "hello")],
            workingDirectory: "/home/vcap"
        ) { bytes in text.withLock { $0 += bytes } }
        return Run(end: end, text: text.withLock { String(decoding: $0, as: UTF8.self) })
    }

    /// The processes of a sandbox's host user.
    static func processes(of hostUser: UInt32 = hostUser) throws -> [Int] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap(Int.init).filter { process in
            let status = (try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)) ?? ""
            return status.contains("Uid:\t\(hostUser)\t")
        }
    }

    @Test("The step sees its own user, its environment and its rootfs, and nothing of this machine")
    func inside() async throws {
        try await Self.with { sandbox in
            let run = try await Self.run(
                sandbox,
                """
                id -u; id -g; pwd; env | sort | tr '\\n' ' '; echo
                ls /proc/self/fd | tr '\\n' ' '; echo
                grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t' | tr '\\n' ' '; echo
                touch /etc/x /x 2>&1; touch /home/vcap/a /out/b /tmp/c && echo written
                ls -d /work /root/.ssh /var/run/docker.sock /sys/kernel 2>&1 | grep -vc 'No such file'
                echo; tr '\\0' ' ' </proc/1/cmdline
                """)
            let lines = run.text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            #expect(run.end == .exited(0) || run.end == .exited(1), "\(run)")
            #expect(lines[..<3] == ["2000", "2000", "/home/vcap"])
            #expect(lines[3].contains("GREETING=hello"))
            #expect(!lines[3].contains("JOIN") && !lines[3].contains("HOME=/root"), "\(lines[3])")
            #expect(lines[4].split(separator: " ").allSatisfy { ["0", "1", "2", "3"].contains($0) }, "\(lines[4])")
            #expect(lines[5].contains("CapEff:0000000000000000 ") && lines[5].contains("CapBnd:0000000000000000 "))
            #expect(lines[5].contains("NoNewPrivs:1") && lines[5].contains("Seccomp:2"), "\(lines[5])")
            #expect(!run.text.contains(sandbox.directory) && !run.text.contains("--setenv"), "\(run.text)")
            #expect(run.text.contains("/etc/x: Read-only file system") && run.text.contains("\nwritten\n"))
        }
    }

    @Test("Seen from outside, no process of the step is root's")
    func outside() async throws {
        try await Self.with { sandbox in
            let began = AsyncStream.makeStream(of: Void.self)
            let task = Task {
                try await sandbox.run(["/bin/sh", "-c", "echo began; sleep 1000 & sleep 1000"]) { _ in
                    began.continuation.yield()
                }
            }
            for await _ in began.stream { break }
            try await waitUntil("three processes run") { try Self.processes().count >= 3 }
            for process in try Self.processes() {
                let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
                #expect(status.contains("CapEff:\t0000000000000000"), "\(status)")
                #expect(status.contains("Gid:\t\(Self.hostUser)\t") && status.contains("\nGroups:\t \n"), "\(status)")
            }
            task.cancel()
            #expect(try await task.value == .cancelled)
            try await waitUntil("nothing of it is left") { try Self.processes().isEmpty }
        }
    }

    @Test(
        "Limits end a step, and nothing of it is left",
        arguments: [
            ("sleep 1000 & setsid sleep 1000 & echo begun; sleep 1000", SandboxEnd.timedOut),
            ("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", .printedTooMuch),
            ("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done", .outOfMemory),
        ])
    func limits(script: String, end: SandboxEnd) async throws {
        try await Self.with { sandbox in
            var sandbox = sandbox
            sandbox.limits.time = end == .timedOut ? .seconds(2) : .seconds(120)
            sandbox.limits.memory = 48 << 20
            sandbox.limits.output = 1 << 20
            let run = try await Self.run(sandbox, script)
            #expect(run.end == end)
            #expect(run.text.utf8.count <= 1 << 20)
            try await waitUntil("nothing of it is left") { try Self.processes().isEmpty }
        }
    }

    @Test("A fork bomb stays within the bound of processes")
    func forkBomb() async throws {
        try await Self.with { sandbox in
            var sandbox = sandbox
            sandbox.limits.time = .seconds(5)
            let most = Mutex(0)
            let watch = Task {
                while !Task.isCancelled {
                    let count = try Self.processes().count
                    most.withLock { $0 = max($0, count) }
                    try await Task.sleep(for: .milliseconds(50))
                }
            }
            _ = try await Self.run(sandbox, "sh -c 'while :; do sleep 1000 & done'; sleep 1000")
            watch.cancel()
            #expect(
                most.withLock { $0 } <= sandbox.limits.processes + 4
                    && most.withLock { $0 } > sandbox.limits.processes / 2)
            try await waitUntil("nothing of it is left") { try Self.processes().isEmpty }
        }
    }

    @Test("A full disk is the step's own; what it wrote can be read afterwards")
    func disk() async throws {
        try await Self.with { sandbox in
            let run = try await Self.run(
                sandbox, "echo kept >/out/droplet; dd if=/dev/zero of=/tmp/fill bs=1M count=1000 2>&1; echo $?")
            #expect(run.text.contains("No space left on device") && run.text.hasSuffix("1\n"), "\(run)")
            let kept = try await sandbox.withFiles(of: "/out") { directory in
                #expect(!FileManager.default.createFile(atPath: directory + "/new", contents: nil))
                return try String(contentsOfFile: directory + "/droplet", encoding: .utf8)
            }
            #expect(kept == "kept\n")
            let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
            #expect(!mounts.contains(sandbox.directory))
        }
    }

    @Test("It has no network, this machine's loopback included")
    func network() async throws {
        try await Self.with { sandbox in
            let run = try await Self.run(
                sandbox,
                "readlink /proc/self/ns/net; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat /proc/net/route")
            let lines = run.text.split(separator: "\n").map(String.init)
            let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
            #expect(lines.count == 3 && lines[0].hasPrefix("net:[") && lines[0] != own, "\(run)")
            #expect(lines[1] == "lo" && lines[2].hasPrefix("Iface"), "no route: \(run)")
        }
    }

    @Test(
        "Calls that no compiler needs are refused",
        arguments: ["unshare -U true", "unshare -m true", "mount -t tmpfs none /tmp", "chroot / true", "dmesg"])
    func refused(script: String) async throws {
        try await Self.with { sandbox in
            let run = try await Self.run(sandbox, "\(script) 2>&1; echo $?")
            #expect(
                (run.text.contains("ermitted") || run.text.contains("denied")) && !run.text.hasSuffix("\n0\n"), "\(run)"
            )
        }
    }

    @Test("Exit codes are the program's; what fails before it is another error")
    func codes() async throws {
        try await Self.with { sandbox in
            let (refused, killed) = (try await Self.run(sandbox, "exit 223"), try await Self.run(sandbox, "kill -9 $$"))
            #expect(refused.end == .exited(223) && killed.end == .exited(137))
            var broken = sandbox
            broken.rootfs += "/nowhere"
            await #expect(throws: SandboxError.self) { try await Self.run(broken, "true") }
            await #expect(throws: SandboxError.isolation("an argument has a NUL")) {
                try await Self.run(sandbox, "a\0b")
            }
        }
    }
}

@Suite("Control groups")
struct ControlGroupTests {
    @Test("are found where both versions are mounted, in a container, and where only the top has controllers")
    func hierarchies() {
        func found(_ mounts: String, _ groups: String, enabled: Set<String> = []) -> [String] {
            ControlGroup.hierarchies(mounts: mounts, groups: groups) { directory, _ in enabled.contains(directory) }
                .map { "\($0.controller) \($0.directory) \($0.isVersion2)" }.sorted()
        }
        let hybrid = """
            30 22 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
            31 22 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
            32 22 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
            """
        #expect(
            found(hybrid, "4:memory:/a/b\n2:cpu,cpuacct:/\n0::/x", enabled: ["/sys/fs/cgroup/unified"]) == [
                "cpu /sys/fs/cgroup/cpu,cpuacct false", "memory /sys/fs/cgroup/memory/a/b false",
                "pids /sys/fs/cgroup/unified true",
            ])
        let unified = "30 22 0:26 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate"
        #expect(found(unified, "0::/system.slice/cistern.service").isEmpty)
        #expect(
            found(unified, "0::/a", enabled: ["/sys/fs/cgroup/a", "/sys/fs/cgroup"]).allSatisfy {
                $0.hasSuffix("/sys/fs/cgroup/a true")
            })
        #expect(found(unified, "0::/a", enabled: ["/sys/fs/cgroup"]).count == 3)
        let container = "30 22 0:26 /docker/1234 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory"
        #expect(found(container, "4:memory:/docker/1234/x") == ["memory /sys/fs/cgroup/memory/x false"])
        #expect(found("nonsense\n\n - \n", "::").isEmpty)
    }
}
