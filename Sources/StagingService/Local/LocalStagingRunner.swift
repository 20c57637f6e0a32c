package import Bits
import Blobs
import Foundation
import Glibc
import Images
import Layers
import OCI
import ObjectStore
package import Rootfs

/// Runs tasks of the staging service on this machine, in the root filesystems that the store has.
package struct LocalStagingRunner: StagingRunner {
    private let runner: LocalRunner
    private let cache: RootfsCache
    private let rootfs: RootfsCatalog
    private let builds: BuildRootfsCatalog
    private let bits: BitsCatalog
    private let stack: StackName
    private let compatibleStacks: [StackName: StackName]
    private let limits: SandboxLimits
    private let options: [String]
    private let authorities: [String]

    /// - Parameters:
    ///   - stack: of tasks that name none.
    ///   - compatibleStacks: the names that buildpacks know stacks by, where these are not the stacks' own.
    ///   - limits: of builds; a task may ask for less memory and disk.
    ///   - options: for download and upload: where their URLs may lead.
    ///   - authorities: PEM files with authorities that these trust, too.
    package init(
        runner: LocalRunner, cache: RootfsCache, rootfs: RootfsCatalog, builds: BuildRootfsCatalog,
        bits: BitsCatalog, stack: StackName, compatibleStacks: [StackName: StackName], limits: SandboxLimits,
        options: [String], authorities: [String]
    ) {
        (self.runner, self.cache, self.rootfs, self.builds) = (runner, cache, rootfs, builds)
        (self.bits, self.stack, self.limits, self.options) = (bits, stack, limits, options)
        self.authorities = authorities
        self.compatibleStacks = compatibleStacks
    }

    package func run(
        _ guid: String, _ request: StagingRequest, log: @escaping @Sendable (ArraySlice<UInt8>) -> Void
    ) async -> StagingOutcome {
        let stack = request.stack ?? stack
        do {
            let (version, open) = try buildRootfs(stack)
            guard let layer = version.layers.first else {
                throw StagingFailure(phase: "start", message: "\(stack) \(version.version) has no layer")
            }
            let root = try await cache.use(layer.digest) { path in try await Self.write(try await open(), to: path) }
            var task = StagingTask(id: guid, download: request.download, upload: request.upload)
            task.downloadOptions = options
            if request.buildpacks == nil { task.installed = try await installed(stack) }
            task.authorities = authorities
            task.uploadOptions = options + ["--form", request.uploadForm]
            task.environment = request.environment.map { ($0.name, $0.value) }
            task.limits = limits
            if let memory = request.memory { task.limits.memory = min(limits.memory, memory << 20) }
            if let disk = request.disk { task.limits.disk = min(limits.disk, disk << 20) }
            task.platform = [
                ("CF_STACK", (compatibleStacks[stack] ?? stack).text),
                ("MEMORY_LIMIT", "\(task.limits.memory >> 20)m"),
            ]
            return await runner.run(task, in: root.path, log: log)
        } catch is CancellationError {
            return .cancelled
        } catch let failure as StagingFailure {
            return .failed(failure)
        } catch {
            return .failed(StagingFailure(phase: "start", message: "\(error)"))
        }
    }

    /// The buildpacks that the server has for a stack.
    private func installed(_ stack: StackName) async throws -> [InstalledBuildpack] {
        let bits = bits
        let names = [nil, stack.text, compatibleStacks[stack]?.text]
        let buildpacks = try await bits.buildpacks().filter { record in
            record.buildpack?.isEnabled ?? true && names.contains(record.buildpack?.stack)
        }
        guard !buildpacks.isEmpty else {
            throw StagingFailure(
                phase: "start", id: .nothingDetected,
                message: "the request names no buildpack, and none is installed for \(stack)")
        }
        return buildpacks.map { record in
            InstalledBuildpack(
                key: record.name.guid, name: record.buildpack?.name ?? record.name.guid, digest: record.digest
            ) { path in try await Self.write(try await bits.open(record), to: path) }
        }
    }

    /// What builds of the stack's current version run in; where the stack has none for builds at all, what apps run on.
    private func buildRootfs(_ stack: StackName) throws -> (RootfsVersion, @Sendable () async throws -> OpenBlob) {
        guard let current = rootfs.history(stack)?.current else {
            throw StagingFailure(phase: "start", message: "no version of the stack \(stack) is promoted")
        }
        let architecture: Architecture
        #if arch(arm64)
            architecture = .arm64
        #else
            architecture = .amd64
        #endif
        let (rootfs, builds) = (rootfs, builds)
        if builds.versions(stack).isEmpty {
            let version = try rootfs.version(stack, current, architecture)
            return (version, { try await rootfs.open(version) })
        }
        guard let version = try? builds.version(stack, current, architecture) else {
            throw StagingFailure(
                phase: "start",
                message: "\(stack) \(current) has nothing for \(architecture) that builds can run in: import it with "
                    + "`cistern rootfs import --kind build --stack \(stack) --version \(current) FILE`")
        }
        return (version, { try await builds.open(version) })
    }

    private static func write(_ blob: OpenBlob, to path: String) async throws {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw SandboxError.system(path, errno) }
        defer { close(file) }
        do {
            var offset: Int64 = 0
            while offset < blob.blob.size {
                let bytes = try await blob.reader.read(at: offset, maximum: 1 << 20)
                guard !bytes.isEmpty else { throw SandboxError.isolation("the root filesystem's layer is cut off") }
                var rest = bytes[...]
                while !rest.isEmpty {
                    let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
                    guard count > 0 else { throw SandboxError.system(path, errno) }
                    rest = rest.dropFirst(count)
                }
                offset += Int64(bytes.count)
            }
        } catch {
            await blob.reader.close()
            throw error
        }
        await blob.reader.close()
    }
}
