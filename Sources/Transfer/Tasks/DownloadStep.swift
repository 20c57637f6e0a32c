import CLinux
import Foundation
import Glibc
import JSON
import OCI
package import Staging

/// A buildpack that a task asks for.
struct WantedBuildpack: Sendable {
    /// What is recorded as its key: without user, password and query, where it is a URL.
    let key: String
    let name: String
    /// The URL as it was given, or a path.
    let source: String
    let skipsDetect: Bool
    let checksum: ExpectedChecksum?

    /// More buildpacks than any task has.
    private static let maximumCount = 256

    /// Reads `[{"name","key","url","skip_detect","sha256"?}]`. A missing key is the URL, a missing name the key.
    /// - Throws: `TransferFailure`, `.invalid`.
    static func list(_ text: String) throws(TransferFailure) -> [WantedBuildpack] {
        guard let items = (try? JSONValue(parsing: text))?.array, !items.isEmpty, items.count <= maximumCount else {
            throw TransferFailure(.invalid, "BUILDPACKS must be a JSON list of 1 to \(maximumCount) buildpacks")
        }
        var wanted: [WantedBuildpack] = []
        for (index, item) in items.enumerated() {
            guard let source = item["url"]?.string, !source.isEmpty else {
                throw TransferFailure(.invalid, "BUILDPACKS: buildpack \(index) has no url")
            }
            let key = TransferURL.masked(item["key"]?.string.flatMap { $0.isEmpty ? nil : $0 } ?? source)
            let name = TransferURL.masked(item["name"]?.string.flatMap { $0.isEmpty ? nil : $0 } ?? key)
            var checksum: ExpectedChecksum?
            if let hex = item["sha256"]?.string, !hex.isEmpty {
                checksum = try ExpectedChecksum(algorithm: "sha256", value: hex)
            }
            wanted.append(
                WantedBuildpack(
                    key: key, name: name, source: source, skipsDetect: item["skip_detect"]?.bool ?? false,
                    checksum: checksum))
        }
        return wanted
    }
}

/// The first step of a staging task: fetches the app, the build cache and the buildpacks.
///
/// A step that was interrupted leaves nothing that the next ones take for whole: files and directories get their names
/// when they are complete, and the list of buildpacks comes last. It may be run again over what is there.
package struct DownloadStep: Sendable {
    package struct Limits: Sendable {
        /// Bytes of one download.
        package var download: Int64 = 8 << 30
        /// Bytes that one buildpack may unpack to.
        package var unpacked: Int64 = 16 << 30

        package init() {}
    }

    private let files: StagingFiles
    private let client: TaskClient
    private let limits: Limits
    private let app: TransferURL
    private let buildpacks: [WantedBuildpack]
    private let variables: TaskVariables
    private let authorities: [String]
    private let groups: ProcessGroups
    private let searchPath: String
    private let log: @Sendable (String) -> Void

    /// - Parameters:
    ///   - variables: `DOWNLOAD_URL`, `BUILDPACKS`, and where there is a build cache `BUILDPACK_CACHE_DOWNLOAD_URI`,
    ///     `BUILDPACK_CACHE_CHECKSUM` and `BUILDPACK_CACHE_CHECKSUM_ALGORITHM` (sha256); `PATH` to find git.
    ///   - authorities: PEM files of authorities, for git; `client` has its own.
    ///   - log: gets lines for people, which hold no secrets.
    /// - Throws: `TransferFailure`, `.invalid`.
    package init(
        _ variables: TaskVariables, files: StagingFiles, client: TaskClient, authorities: [String] = [],
        limits: Limits = Limits(), groups: ProcessGroups, log: @escaping @Sendable (String) -> Void
    ) throws(TransferFailure) {
        guard let app = try variables.url("DOWNLOAD_URL") else {
            throw TransferFailure(.invalid, "DOWNLOAD_URL is missing: it says where the app's zip is")
        }
        guard let list = variables["BUILDPACKS"] else {
            throw TransferFailure(.invalid, "BUILDPACKS is missing: it says which buildpacks there are")
        }
        self.files = files
        self.client = client
        self.limits = limits
        self.app = app
        self.buildpacks = try WantedBuildpack.list(list)
        self.variables = variables
        self.authorities = authorities
        self.groups = groups
        self.searchPath = variables["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        self.log = log
    }

    /// - Throws: `TransferFailure`, `CancellationError`.
    package func run() async throws {
        try StepFiles.makeDirectory(files.workspace)
        try StepFiles.makeDirectory(files.buildpacks)
        try StepFiles.remove(files.buildpackList)
        try await fetchApp()
        try await fetchCache()
        var list: [BuildpackList.Buildpack] = []
        var sources: [String: (wanted: WantedBuildpack, source: String)] = [:]
        for wanted in buildpacks {
            var directory = XXH64.directoryName(of: wanted.key)
            // The same buildpack twice is fetched once. Two that differ only in what is no part of the key are two.
            while let other = sources[directory], other.wanted.source != wanted.source { directory += "x" }
            let source: String
            if let known = sources[directory]?.source {
                source = known
            } else {
                do { source = try await fetch(wanted, into: directory) } catch let error as TransferFailure {
                    throw TransferFailure(error.kind, "buildpack \(wanted.name): \(error.description)")
                }
                sources[directory] = (wanted, source)
            }
            list.append(
                BuildpackList.Buildpack(
                    key: wanted.key, name: wanted.name, skipsDetect: wanted.skipsDetect, directory: directory,
                    source: source))
        }
        try StepFiles.write(BuildpackList(list).json.canonicalBytes, to: files.buildpackList)
    }

    // MARK: App and cache

    private func fetchApp() async throws {
        try StepFiles.remove(files.app)
        let (size, _) = try await get(app, to: files.app, checksum: nil)
        guard try ArchiveUnpacker.format(of: files.app) == .zip else {
            try StepFiles.remove(files.app)
            throw TransferFailure(.corrupt, "the app from \(app) is no zip")
        }
        log("app: \(size) bytes")
    }

    /// A build without its cache takes longer, and that is all: no failure here is the task's.
    private func fetchCache() async throws {
        try StepFiles.remove(files.oldCache)
        do {
            guard let url = try variables.url("BUILDPACK_CACHE_DOWNLOAD_URI") else { return }
            var checksum: ExpectedChecksum?
            if let value = variables["BUILDPACK_CACHE_CHECKSUM"] {
                checksum = try ExpectedChecksum(
                    algorithm: variables["BUILDPACK_CACHE_CHECKSUM_ALGORITHM"] ?? "sha256", value: value)
            }
            let (size, _) = try await get(url, to: files.oldCache, checksum: checksum)
            log("build cache: \(size) bytes")
        } catch let error as TransferFailure where error.kind == .notFound {
            log("build cache: there is none")
        } catch let error as TransferFailure {
            log("warning: going on without the build cache: \(error.description)")
        }
        // What a failed download has written takes space that the build may need.
        _ = try? StepFiles.remove(files.oldCache + ".partial")
    }

    /// Fetches or copies one file.
    private func get(_ url: TransferURL, to path: String, checksum: ExpectedChecksum?) async throws -> (
        Int64, digest: String
    ) {
        if url.scheme == .file {
            let source = try localPath(url)
            try StepFiles.remove(path + ".partial")
            do { try FileManager.default.copyItem(atPath: source, toPath: path + ".partial") } catch {
                throw TransferFailure(.file, "\(source) can't be copied")
            }
            let file: UploadFile
            do { file = try UploadFile(path: path + ".partial") } catch {
                throw TransferFailure(.file, "\(source): not a regular file")
            }
            let digest = try Upload(file).digest
            guard checksum == nil || checksum?.hex == digest.hex || checksum?.algorithm != .sha256 else {
                throw TransferFailure(.corrupt, "\(source) has another checksum than \(checksum?.hex ?? "")")
            }
            guard rename(path + ".partial", path) == 0 else { throw TransferFailure.file(path) }
            return (file.size, digest.description)
        }
        let file = try await client.download(url, to: path, checksum: checksum, limit: limits.download, log: log)
        return (file.size, file.digest.description)
    }

    private func localPath(_ url: TransferURL) throws(TransferFailure) -> String {
        guard let path = url.filePath else { throw TransferFailure(.forbidden, "\(url): the path is not well encoded") }
        guard client.rules.files.allow(path) else {
            throw TransferFailure(.forbidden, "\(url): files of this machine are not read; --allow-files allows it")
        }
        return path
    }

    // MARK: Buildpacks

    /// - Parameter name: the directory's name.
    /// - Returns: what was fetched, as `BuildpackList.Buildpack.source` has it.
    private func fetch(_ wanted: WantedBuildpack, into name: String) async throws -> String {
        let directory = "\(files.buildpacks)/\(name)"
        let partial = "\(files.buildpacks)/.\(name).partial"
        let archive = "\(files.buildpacks)/.\(name).archive"
        for path in [directory, partial, archive] { try StepFiles.remove(path) }
        defer { for path in [partial, archive] { try? StepFiles.remove(path) } }
        let url = try TransferURL(wanted.source.hasPrefix("/") ? "file://\(wanted.source)" : wanted.source)
        let start = ContinuousClock.now
        let source = try await fetch(url, wanted, into: partial, archive: archive)
        guard rename(partial, directory) == 0 else { throw TransferFailure.file(directory) }
        log("buildpack \(wanted.name): \(source.isEmpty ? url.masked : source), \(seconds(since: start))")
        return source
    }

    private func fetch(
        _ url: TransferURL, _ wanted: WantedBuildpack, into directory: String, archive: String
    ) async throws -> String {
        if url.scheme == .file, case let path = try localPath(url), StepFiles.isDirectory(path) {
            do { try FileManager.default.copyItem(atPath: path, toPath: directory) } catch {
                throw TransferFailure(.file, "\(path) can't be copied: \(error.localizedDescription)")
            }
            return ""
        }
        if url.scheme != .file, GitClone.isRepository(url) { return try await clone(url, wanted, into: directory) }
        let (_, digest) = try await get(url, to: archive, checksum: wanted.checksum)
        guard let format = try ArchiveUnpacker.format(of: archive) else {
            guard url.scheme != .file, wanted.checksum == nil else {
                throw TransferFailure(.corrupt, "\(url) is neither a zip nor a tar")
            }
            // As the predecessor did: what is no archive is the page of a repository.
            try StepFiles.remove(archive)
            return try await clone(url, wanted, into: directory)
        }
        try StepFiles.makeDirectory(directory)
        do { try ArchiveUnpacker.unpack(archive, format, into: directory, limit: limits.unpacked) } catch {
            throw TransferFailure(error.kind, "\(url): \(error.description)")
        }
        return digest
    }

    private func clone(_ url: TransferURL, _ wanted: WantedBuildpack, into directory: String) async throws -> String {
        guard wanted.checksum == nil else {
            throw TransferFailure(.invalid, "\(url) is a git repository, which has no sha256: name a commit with #")
        }
        let bundle = "\(files.buildpacks)/.authorities.partial"
        defer { try? StepFiles.remove(bundle) }
        let extra = variables.authorityFiles(authorities)
        if !extra.isEmpty { try StepFiles.write(try Self.bundle(extra), to: bundle) }
        let git = GitClone(
            client: client, groups: groups, searchPath: searchPath, authorityFile: extra.isEmpty ? nil : bundle)
        return try await "git:" + git.clone(url, into: directory, log: log)
    }

    /// The system's authorities and more, in one file.
    private static func bundle(_ files: [String]) throws(TransferFailure) -> [UInt8] {
        let system = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]
        var bytes: [UInt8] = []
        for file in system.filter({ access($0, R_OK) == 0 }).prefix(1) + files {
            bytes += try StepFiles.read(file, limit: 8 << 20) + [UInt8(ascii: "\n")]
        }
        return bytes
    }

    private func seconds(since start: ContinuousClock.Instant) -> String {
        let milliseconds = (ContinuousClock.now - start) / .milliseconds(1)
        return "\((milliseconds / 100).rounded() / 10) s"
    }
}
