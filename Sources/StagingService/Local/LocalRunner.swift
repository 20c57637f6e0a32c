import CLinux
import Foundation
import Glibc
package import JSON
package import OCI
import Staging
import Synchronization
import Transfer

/// A buildpack that the server keeps.
package struct InstalledBuildpack: Sendable {
    package let key: String
    package let name: String
    /// Of its archive.
    package let digest: Digest
    /// Writes its archive into a new file.
    package let write: @Sendable (_ path: String) async throws -> Void

    package init(
        key: String, name: String, digest: Digest, write: @escaping @Sendable (_ path: String) async throws -> Void
    ) {
        (self.key, self.name, self.digest, self.write) = (key, name, digest, write)
    }
}

/// What a task needs besides the root filesystem that it builds in.
package struct StagingTask: Sendable {
    /// Letters, digits, `.`, `_` and `-`; a directory gets this name.
    package let id: String
    /// The variables of `stage-download`, whose secrets no other step sees.
    package var download: JSONObject
    /// Buildpacks that the server has, which take the place of `BUILDPACKS`.
    package var installed: [InstalledBuildpack] = []
    /// Writes the app as a zip into a new file, from which it is downloaded; nil: `DOWNLOAD_URL` says where it is.
    package var makeApp: (@Sendable (_ path: String) throws -> Void)?
    /// Its options besides those that the runner gives.
    package var downloadOptions: [String] = []
    /// PEM files with authorities that download and upload trust, too.
    package var authorities: [String] = []
    /// What buildpacks see besides the table in `Staging`.
    package var environment: [(name: String, value: String)] = []
    /// What `stage-build` passes on to buildpacks if the environment has no other: `CF_STACK`, `VCAP_APPLICATION` ….
    package var platform: [(name: String, value: String)] = []
    /// The variables of `stage-upload`, whose secrets no other step sees.
    package var upload: JSONValue
    package var uploadOptions: [String] = []
    package var limits = SandboxLimits()
    /// nil: the build has no network.
    package var network: SandboxNetwork?

    package init(id: String, download: JSONObject, upload: JSONValue) {
        (self.id, self.download, self.upload) = (id, download, upload)
    }
}

/// Runs staging tasks on this machine: download and upload as processes of their own, the build between them in a
/// `Sandbox`. The three meet in directories of the task alone, which are gone when it has ended.
package struct LocalRunner: Sendable {
    /// How long download and upload may take, each.
    private static let transferTime = Duration.seconds(3600)
    /// How large `result.json` may be.
    private static let maximumResult: Int64 = 1 << 20

    private let programs: StepPrograms
    private let directory: String
    /// The directory with `stage-build`, its loader and its libraries.
    private let bundle: String
    private let users: HostUsers?
    private let isolatesTransfers: Bool

    /// - Parameters:
    ///   - directory: gets a directory for each task; made if it is missing.
    ///   - bundles: gets what `StepPrograms.buildBundle` makes.
    ///   - users: the uids for builds; nil if this process is not root.
    ///   - isolatesTransfers: whether download and upload run with the uid of the build, too: for tasks of people who
    ///     may not use this machine otherwise.
    ///   - isExclusive: whether no other process uses the directory.
    /// - Throws: `SandboxError` if something is missing that isolation needs.
    package init(
        programs: StepPrograms, directory: String, bundles: String, users: HostUsers?, isolatesTransfers: Bool,
        isExclusive: Bool
    ) throws {
        try Sandbox.check()
        self.programs = programs
        self.directory = directory
        self.users = users
        self.isolatesTransfers = isolatesTransfers
        for path in [directory, bundles] {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
        bundle = try programs.buildBundle(cache: bundles)
        Workplace.removeLeftovers(in: directory, isExclusive: isExclusive)
    }

    /// Runs a task to its end.
    /// - Parameters:
    ///   - rootfs: the directory of the unpacked root filesystem.
    ///   - log: gets what the steps print, as it comes.
    package func run(
        _ task: StagingTask, in rootfs: String, log: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) async -> StagingOutcome {
        let tail = Mutex(LogTail())
        let log: @Sendable (ArraySlice<UInt8>) -> Void = { bytes in
            tail.withLock { $0.take(bytes) }
            log(bytes)
        }
        do {
            // What an earlier attempt left half removed has another name.
            let place = try Workplace(in: directory, name: "\(task.id)-\(UInt32.random(in: 0 ... .max))")
            for path in [place.transfer, place.transfer + "/out"] { try place.make(path, 0o700) }
            let user = try users?.take()
            if let user, isolatesTransfers {
                for path in [place.transfer, place.transfer + "/out"] where chown(path, user.uid, user.uid) != 0 {
                    throw SandboxError.system(path, errno)
                }
            }
            try await download(task, place, user, log)
            return try await build(task, place, user, rootfs, log)
        } catch let failure as StagingFailure {
            return .failed(
                StagingFailure(
                    phase: failure.phase, id: failure.id, message: failure.message, buildpack: failure.buildpack,
                    exitCode: failure.exitCode, log: tail.withLock { $0.lines }))
        } catch is CancellationError {
            return .cancelled
        } catch {
            return .failed(
                StagingFailure(phase: "start", message: "\(error)", log: tail.withLock { $0.lines }))
        }
    }

    // MARK: Download and upload

    private func download(
        _ task: StagingTask, _ place: Workplace, _ user: HostUsers.Lease?,
        _ log: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) async throws {
        var variables = task.download
        let app = place.transfer + "/app.zip"
        if let makeApp = task.makeApp {
            try makeApp(app)
            variables["DOWNLOAD_URL"] = .string("file://\(seen(place))/app.zip")
        }
        var options = ["--workspace", seen(place) + "/workspace"] + task.downloadOptions
        let given = place.transfer + "/given"
        if !task.installed.isEmpty {
            variables["BUILDPACKS"] = .array(try await bring(task.installed, into: given, seen(place) + "/given"))
            options += ["--files", seen(place) + "/given"]
        }
        try await transfer(
            "download", programs.download, options, .object(variables), place, user, task, log)
        unlink(app)
        try FileTree.remove(given)
        let environment = JSONValue.array(
            task.environment.map { ["name": .string($0.name), "value": .string($0.value)] })
        let path = StagingFiles(workspace: place.transfer + "/workspace").environment
        // The build's user reads it through a mount, and nobody else can pass the directory.
        guard FileManager.default.createFile(atPath: path, contents: Data(environment.canonicalBytes)) else {
            throw SandboxError.system(path, errno)
        }
        chmod(path, 0o644)
    }

    /// Copies buildpacks to where download finds them, and nobody else puts anything.
    /// - Returns: what `BUILDPACKS` says of them.
    private func bring(
        _ buildpacks: [InstalledBuildpack], into directory: String, _ seen: String
    ) async throws -> [JSONValue] {
        guard mkdir(directory, 0o755) == 0 else { throw SandboxError.system(directory, errno) }
        var list: [JSONValue] = []
        for (number, buildpack) in buildpacks.enumerated() {
            let path = "\(directory)/\(number)"
            try await buildpack.write(path)
            chmod(path, 0o644)
            list.append([
                "key": .string(buildpack.key), "name": .string(buildpack.name), "skip_detect": false,
                "sha256": .string(buildpack.digest.hex), "url": .string("file://\(seen)/\(number)"),
            ])
        }
        return list
    }

    /// The task's directory of transfers as download and upload see it: a uid of their own can't pass the directories
    /// above it, so it is mounted elsewhere in a mount namespace of theirs.
    private func seen(_ place: Workplace) -> String { isolatesTransfers ? "/mnt" : place.transfer }

    /// Mounts the task's directory and what a build made, if there is that, then gives up root.
    private static let isolation = """
        set -eu
        transfer=$1 output=$2 uid=$3; shift 3
        mount --bind "$transfer" /mnt
        [ -z "$output" ] || mount --bind "$output" /mnt/out
        cd /mnt
        exec setpriv --pdeathsig KILL --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \\
            -- "$@"
        """

    /// Runs a step that has a network. Its variables come on standard input, where they leave nothing behind.
    /// - Parameter output: what the build made, for upload.
    private func transfer(
        _ name: String, _ program: String, _ options: [String], output: String? = nil, _ variables: JSONValue,
        _ place: Workplace, _ user: HostUsers.Lease?, _ task: StagingTask,
        _ log: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) async throws {
        var options = options + ["--buildpacks", seen(place) + "/buildpacks"]
        if let output { options += ["--output", isolatesTransfers ? "/mnt/out" : output] }
        for (number, authority) in task.authorities.enumerated() {
            let copy = "\(place.transfer)/authority-\(number).pem"
            if access(copy, F_OK) != 0 { try FileManager.default.copyItem(atPath: authority, toPath: copy) }
            chmod(copy, 0o644)
            options += ["--ca", "\(seen(place))/authority-\(number).pem"]
        }
        let title = name.prefix(1).uppercased() + name.dropFirst()
        log(Array("-----> \(title)\n".utf8)[...])
        let start = ContinuousClock.now
        // It ends with this process, however that ends.
        var command = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", program, "--task", "-"] + options
        if let user, isolatesTransfers {
            command =
                [
                    "/usr/bin/unshare", "--mount", "--propagation", "slave", "--", "/bin/sh", "-c", Self.isolation,
                    "transfer", place.transfer, output ?? "", "\(user.uid)",
                ] + command.dropFirst(4)
        }
        var limits = SandboxLimits()
        limits.time = Self.transferTime
        limits.output = 4 << 20
        let last = Mutex(LogTail())
        let end = try await SandboxedProcess(
            command, environment: ["PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "TMPDIR": seen(place)],
            limits: limits, input: variables.canonicalBytes
        ) { bytes in
            last.withLock { $0.take(bytes) }
            log(bytes)
        }.run()
        let duration = Self.text(ContinuousClock.now - start)
        switch end {
        case .exited(0): log(Array("-----> \(title): done in \(duration)\n".utf8)[...])
        case .cancelled: throw CancellationError()
        case .timedOut: throw StagingFailure(phase: name, message: "the \(name) took longer than \(Self.transferTime)")
        case .exited(let code):
            log(Array("-----> \(title): failed after \(duration)\n".utf8)[...])
            if let signal = StagingFailure.signal(code) {
                throw StagingFailure(phase: name, message: "the \(name) was ended by signal \(signal)", exitCode: code)
            }
            // Its last line says why, in a sentence that holds no secret, after its own name.
            let line = last.withLock { $0.lines }.last ?? ""
            let reason = line.hasPrefix("stage-\(name): ") ? String(line.dropFirst("stage-\(name): ".count)) : line
            throw StagingFailure(
                phase: name, message: reason.isEmpty ? "the \(name) failed" : "\(name): \(reason)", exitCode: code)
        case .outOfMemory, .printedTooMuch:
            throw StagingFailure(phase: name, message: "the \(name) printed too much")
        }
    }

    private static func text(_ duration: Duration) -> String {
        "\((duration / .milliseconds(100)).rounded() / 10) s"
    }

    // MARK: Build

    private func build(
        _ task: StagingTask, _ place: Workplace, _ user: HostUsers.Lease?, _ rootfs: String,
        _ log: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) async throws -> StagingOutcome {
        let step = place.path + "/step"
        try place.make(step, 0o711)
        var sandbox = Sandbox(rootfs: rootfs, directory: step, hostUser: user?.uid)
        sandbox.limits = task.limits
        sandbox.network = task.network
        let defaults = StagingFiles()
        sandbox.mounts = [
            .init(source: bundle, target: "/lifecycle"),
            .init(source: place.transfer + "/buildpacks", target: defaults.buildpacks),
            .init(source: place.transfer + "/workspace", target: defaults.workspace),
        ]
        for weakness in sandbox.weaknesses { log(Array("WARNING: \(weakness)\n".utf8)[...]) }
        let end = try await sandbox.run(
            StepPrograms.command("stage-build"), environment: task.platform, workingDirectory: "/home/vcap", print: log)
        switch end {
        case .exited(0): break
        case .exited(let code):
            let result = try? await sandbox.withFiles(of: defaults.output) { output in Self.result(in: output) }
            throw StagingFailure.build(exitCode: code, result: result ?? nil, log: [])
        case .cancelled: throw CancellationError()
        case .outOfMemory:
            throw StagingFailure(
                phase: "build", id: .insufficientResources,
                message: "the build needed more memory than its limit of \(task.limits.memory >> 20) MiB")
        case .timedOut:
            throw StagingFailure(
                phase: "build", message: "the build took longer than its limit of \(task.limits.time)")
        case .printedTooMuch:
            throw StagingFailure(
                phase: "build", message: "the build printed more than its limit of \(task.limits.output >> 20) MiB")
        }
        let report = "report.json"
        try await sandbox.withFiles(of: defaults.output) { output in
            try await transfer(
                "upload", programs.upload, ["--report", "\(seen(place))/\(report)"] + task.uploadOptions,
                output: output, task.upload, place, user, task, log)
        }
        guard let json = Self.json("\(place.transfer)/\(report)"), let outcome = StagingOutcome(report: json) else {
            throw StagingFailure(phase: "upload", message: "the upload did not say what it sent")
        }
        return outcome
    }

    /// What a build said of itself, which may be anything; nil if it can't be read.
    private static func result(in output: String) -> JSONValue? {
        guard let file = try? UploadFile.made("result.json", in: output, limit: maximumResult),
            let bytes = try? file.bytes()
        else { return nil }
        return try? JSONValue(parsing: bytes)
    }

    private static func json(_ path: String) -> JSONValue? {
        guard let file = try? UploadFile(path: path), file.size <= StagingOutcome.maximumReport,
            let bytes = try? file.bytes()
        else {
            return nil
        }
        return try? JSONValue(parsing: bytes)
    }
}

extension Workplace {
    /// What download and upload see of the task.
    fileprivate var transfer: String { path + "/transfer" }
}
