import Foundation
import Glibc
import Synchronization

/// Shows which statements of the launcher's contract hold on an unpacked root filesystem: it looks at files, and boots
/// small droplets in a `Sandbox`.
package struct RootfsCheck: Sendable {
    /// One line of the report.
    package struct Line: Hashable, Sendable {
        package let statement: String
        package let outcome: CheckOutcome
    }

    /// Where a program is looked for by its name.
    private static let programs = ["/usr/local/bin", "/usr/bin", "/bin"]

    private let root: RootfsCache.Use
    private let directory: String
    private let launch: String
    private let users: HostUsers?

    /// - Parameters:
    ///   - root: the unpacked root filesystem, which stays as long as this value.
    ///   - directory: gets a directory for each boot.
    ///   - launch: the program that starts apps.
    ///   - users: the uids for boots; nil if this process is not root.
    package init(root: RootfsCache.Use, directory: String, launch: String, users: HostUsers?) {
        (self.root, self.directory, self.launch, self.users) = (root, directory, launch, users)
    }

    /// Checks the files alone, which needs no sandbox.
    /// - Throws: `SandboxError.system` if the root filesystem can't be read.
    package func checkFiles() throws -> [Line] {
        let tree = try RootfsTree(root.path)
        return ContractStatement.all.compactMap { statement in
            guard case .files(let look) = statement.evidence else { return nil }
            return Line(statement: statement.text, outcome: look(tree))
        }
    }

    /// Checks all statements.
    /// - Parameters:
    ///   - warn: gets what of the sandbox's limits does not hold on this machine.
    ///   - report: gets each line as soon as it is known, in the order of the contract.
    /// - Throws: `SandboxError` if boots can't be kept apart from this machine; `CancellationError`.
    package func run(warn: (String) -> Void, report: (Line) -> Void) async throws {
        try Sandbox.check()
        let tree = try RootfsTree(root.path)
        Workplace.removeLeftovers(in: directory, isExclusive: false)
        let place = try Workplace(in: directory, name: "check-\(UUID().uuidString)")
        let user = try users?.take()
        let lifecycle = try makeLifecycle(in: place)
        for weakness in sandbox(in: place.path, lifecycle, user).weaknesses { warn(weakness) }
        var reports: [SampleBoot: BootReport] = [:]
        func boot(_ sample: SampleBoot) async throws -> BootReport {
            if let report = reports[sample] { return report }
            let report = try await self.boot(sample, place, lifecycle, user)
            reports[sample] = report
            return report
        }
        for statement in ContractStatement.all {
            let outcome: CheckOutcome
            switch statement.evidence {
            case .files(let look): outcome = look(tree)
            case .boots(let boots): outcome = try await Self.judge(boots, boot)
            case .interpreters(let names):
                let found = names.compactMap { name in
                    Self.programs.map { "\($0)/\(name)" }.first(where: tree.isProgram)
                }
                let boots = found.map { path in
                    let name = String(path.split(separator: "/").last ?? "")
                    return (SampleBoot.interpreter(path), ContractStatement.Expectation.fact("interpreter", name))
                }
                outcome = boots.isEmpty ? .leftOut("none of them is there") : try await Self.judge(boots, boot)
            }
            report(Line(statement: statement.text, outcome: outcome))
        }
    }

    /// The first expectation that was not met.
    private static func judge(
        _ boots: [(SampleBoot, ContractStatement.Expectation)], _ boot: (SampleBoot) async throws -> BootReport
    ) async throws -> CheckOutcome {
        for (sample, expectation) in boots {
            let report = try await boot(sample)
            switch expectation {
            case .exitCode(let code):
                if report.end != .exited(code) {
                    return .failed(expected: "exit code \(code)", seen: report.summary)
                }
            case .fact(let name, let value):
                let seen = report.fact(name)
                if seen != value {
                    let expected = "\(name) '\(value)'"
                    return .failed(expected: expected, seen: seen.map { "'\($0)'" } ?? report.summary)
                }
            }
        }
        return .ok
    }

    // MARK: Boots

    /// The directory that is mounted as `/lifecycle`, with the program under its names.
    private func makeLifecycle(in place: Workplace) throws(SandboxError) -> String {
        let lifecycle = place.path + "/lifecycle"
        try place.make(lifecycle, 0o755)
        guard access(launch, X_OK) == 0 else { throw SandboxError.noStep(path: launch) }
        try ProgramBundle.copy(launch, to: lifecycle + "/launch")
        for name in ["launcher", "shell"] {
            guard symlink("launch", "\(lifecycle)/\(name)") == 0 else { throw SandboxError.system(lifecycle, errno) }
        }
        return lifecycle
    }

    private func sandbox(in directory: String, _ lifecycle: String, _ user: HostUsers.Lease?) -> Sandbox {
        var sandbox = Sandbox(rootfs: root.path, directory: directory, hostUser: user?.uid)
        sandbox.mounts = [.init(source: lifecycle, target: "/lifecycle")]
        sandbox.writable = [SampleBoot.home, "/tmp"]
        sandbox.limits.memory = 512 << 20
        sandbox.limits.processes = 128
        sandbox.limits.disk = 64 << 20
        sandbox.limits.time = .seconds(30)
        sandbox.limits.output = 1 << 20
        return sandbox
    }

    private func boot(
        _ sample: SampleBoot, _ place: Workplace, _ lifecycle: String, _ user: HostUsers.Lease?
    ) async throws -> BootReport {
        let directory = place.path + "/boot"
        try place.make(directory, 0o711)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var sandbox = sandbox(in: directory, lifecycle, user)
        sandbox.isProcessOne = sample.isProcessOne
        let files = sandbox.initial(SampleBoot.home)
        for (name, text) in sample.files {
            let url = URL(fileURLWithPath: "\(files)/\(name)")
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
            if url.deletingLastPathComponent().lastPathComponent == "bin" { chmod(url.path, 0o755) }
        }
        let output = Mutex<[UInt8]>([])
        let end = try await sandbox.run(
            sample.command, environment: sample.environment.map { ($0.key, $0.value) }
        ) { bytes in output.withLock { $0 += bytes } }
        if end == .cancelled { throw CancellationError() }
        return BootReport(end: end, output: output.withLock { String(decoding: $0, as: UTF8.self) })
    }
}
