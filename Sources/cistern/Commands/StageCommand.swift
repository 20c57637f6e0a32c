import ArgumentParser
import Droplets
import Foundation
import Glibc
import JSON
import OCI
import OperatorModel
import Rootfs
import StagingService
import Transfer

struct StageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stage", abstract: "Build a droplet from an app on this machine and upload it.",
        discussion: """
            APP is a directory (what .cfignore names is left out), a zip or a jar. A buildpack is a directory, a zip or \
            tar file, or the URL of one, or of a git repository (https://…#REF); without -b those that are installed \
            on the server detect. The build runs apart from this machine, \
            without a network, in the root filesystem that builds of the stack's current version run in.
            """)

    @OptionGroup var server: ServerOptions
    @Option(name: [.customShort("b"), .customLong("buildpack")], help: "A buildpack; the order counts (repeatable).")
    var buildpacks: [String] = []
    @Flag(help: "Let detect choose one of those given by -b, instead of running them all.") var detect = false
    @Option(help: "The app's droplet guid; without it, the app's file name.") var guid: String?
    @Option(help: "The stack; without it, the server's only one.") var stack: String?
    @Option(help: "The app's organization, which the droplet's record names.") var org: String?
    @Option(help: "The app's space, which the droplet's record names.") var space: String?
    @Option(help: "The version to build in, where the current one has none for builds.") var buildVersion: String?
    @Option(
        name: [.customLong("env")],
        help: "A variable for the buildpacks, NAME=VALUE, or NAME for its value here (repeatable).")
    var environment: [String] = []
    @Flag(help: "Give the build a network of its own, from which this machine can't be reached.") var network = false
    @Option(help: "With --network, a range that the build must not reach, a.b.c.d/n (repeatable).")
    var refuse: [String] = []
    @Option(help: "MiB of memory that the build may use.") var memory = 2048
    @Option(help: "MiB that the build may write.") var disk = 4096
    @Option(help: "Seconds that the build may take.") var timeLimit = 900
    @Option(help: "Where builds work, and root filesystems are kept between them; without it, in the user's cache.")
    var cache: String?
    @Argument(help: "The app.") var app: String

    private struct Staged: Model {
        let image: String
        @Nullable var digest: Digest?
        let droplet: Digest
        let size: Int64
    }

    func validate() throws {
        guard SandboxNetwork(refused: refuse) != nil else {
            throw ValidationError("--refuse takes a range of IPv4 addresses, as in 10.0.0.0/8.")
        }
        guard network || refuse.isEmpty else { throw ValidationError("--refuse goes with --network.") }
        for (name, value, range) in [
            ("--memory", memory, 16...(1 << 20)), ("--disk", disk, 64...(1 << 20)),
            ("--time-limit", timeLimit, 1...86_400),
        ] where !range.contains(value) {
            throw ValidationError("\(name) takes a number from \(range.lowerBound) to \(range.upperBound).")
        }
    }

    func run() async throws {
        let connection = try server.connection()
        let interrupt = Interrupt()
        let staged = try await interrupt.watch {
            try await ServerClient.with(connection) { client in try await stage(client, connection) }
        }
        if server.json { return print(staged.json.prettyText) }
        print(staged.image)
        // Clients read authorities that the system does not have from a directory.
        let authority = connection.authorityFile.map { "        # CERTS/ca.crt is \(printable($0))" }
        writeToStandardError(
            """

            Type next, for example:
              podman pull\(authority == nil ? "" : " --cert-dir CERTS") --creds pull:PASSWORD \
            \(printable(staged.image))\(authority ?? "")
              podman run -e PORT=8080 -p 8080:8080 \(printable(staged.image))

            """)
    }

    private func stage(_ client: ServerClient, _ connection: ServerConnection) async throws -> Staged {
        let guid = try guid ?? Self.guid(of: app)
        let place = try StagingPlace(cache: cache)
        let rootfs = try await buildRootfs(client)
        let root = try await place.use(
            rootfs.layer, "\(rootfs.stack) \(rootfs.version)", rootfs.path, client)
        writeToStandardError("-----> \(printable(guid)) on \(rootfs.name)\n")
        let runner = try LocalRunner(
            programs: try StepPrograms(in: StagingPlace.programs), directory: place.tasks, bundles: place.bundles,
            users: geteuid() == 0 ? HostUsers() : nil, isolatesTransfers: false, isExclusive: false)
        let task = try await task(guid, rootfs, client, connection)
        let display = BuildDisplay()
        let outcome = await display.watch { await runner.run(task, in: root.path) { display.show($0) } }
        switch outcome {
        case .cancelled: throw CommandError("the staging was cancelled; nothing of it is left")
        case .failed(let failure):
            throw CommandError("\(failure.id.rawValue): \(printable(failure.message))")
        case .staged(let droplet):
            let image: DropletImage = try await client.send(.get, apiPath("droplets", guid, droplet.digest.hex))
            return Staged(
                image: image.image, digest: image.digest, droplet: droplet.digest, size: droplet.size)
        }
    }

    /// A guid from the name of a directory or file.
    private static func guid(of app: String) throws -> String {
        let url = URL(fileURLWithPath: app).standardizedFileURL
        let name = url.hasDirectoryPath ? url.lastPathComponent : url.deletingPathExtension().lastPathComponent
        guard (try? DropletGUID(name)) != nil else {
            throw CommandError("'\(printable(name))' can't be a droplet's guid: give one with --guid")
        }
        return name
    }

    /// The buildpacks as `stage-download` takes them, and the hosts that they lead to.
    private func wantedBuildpacks(
        _ rootfs: BuildRootfs, _ client: ServerClient
    ) async throws -> (list: [JSONValue], urls: [URL]) {
        if buildpacks.isEmpty {
            let installed = InstalledBuildpack.list(try await client.send(.get, "/buildpacks"))
                .filter { $0.isEnabled && [nil, rootfs.stack, rootfs.compatible].contains($0.stack) }
            guard !installed.isEmpty else {
                throw CommandError(
                    """
                    no buildpack for \(printable(rootfs.stack)) is installed on the server: name some with -b, or install \
                    them with `cistern buildpack upload FILE.zip`
                    """)
            }
            var list: [JSONValue] = []
            var urls: [URL] = []
            for buildpack in installed {
                let url = try await client.signedURL(.get, "/buildpacks/\(buildpack.guid.urlComponent)")
                list.append([
                    "key": .string(buildpack.guid), "name": .string(buildpack.name), "url": .string(url),
                    "skip_detect": false, "sha256": .string(buildpack.sha256),
                ])
                if let url = URL(string: url) { urls.append(url) }
            }
            return (list, urls)
        }
        var urls: [URL] = []
        let list = try buildpacks.map { text -> JSONValue in
            var source = text
            if let url = URL(string: text), let scheme = url.scheme, ["http", "https"].contains(scheme.lowercased()) {
                urls.append(url)
            } else if !text.contains("://") {
                source = URL(fileURLWithPath: text).standardizedFileURL.path
                guard access(source, R_OK) == 0 else {
                    throw CommandError("there is no buildpack '\(printable(text))'")
                }
            }
            var name = source.split(separator: "/").last.map(String.init) ?? source
            for suffix in [".zip", ".tgz", ".tar.gz", ".git"] where name.hasSuffix(suffix) {
                name = String(name.dropLast(suffix.count))
            }
            return [
                "key": .string(source), "name": .string(name), "url": .string(source), "skip_detect": .bool(!detect),
            ]
        }
        return (list, urls)
    }

    private func task(
        _ guid: String, _ rootfs: BuildRootfs, _ client: ServerClient, _ connection: ServerConnection
    ) async throws -> StagingTask {
        var (list, urls) = try await wantedBuildpacks(rootfs, client)
        let query = [("stack", rootfs.stack), ("arch", StagingPlace.architecture), ("org", org), ("space", space)]
            .compactMap { name, value in value.map { "\(name)=\($0.urlComponent)" } }.joined(separator: "&")
        let cache = "/buildpack_cache/entries/\(guid.urlComponent)/\(rootfs.stack.urlComponent)"
        let droplet = try await client.signedURL(.put, "/droplets/\(guid.urlComponent)?\(query)")
        let oldCache = try await client.signedURL(.get, cache)
        var task = StagingTask(
            id: UUID().uuidString.lowercased(),
            download: ["BUILDPACKS": .array(list), "BUILDPACK_CACHE_DOWNLOAD_URI": .string(oldCache)],
            upload: [
                "DROPLET_UPLOAD_URL": .string(droplet),
                "BUILDPACK_CACHE_UPLOAD_URI": .string(try await client.signedURL(.put, cache)),
            ])
        let app = app
        task.makeApp = { _ = try AppPackage.write(app, to: $0) }
        let own = URL(string: droplet)
        if let url = URL(string: oldCache) { urls.append(url) }
        // Who types a URL may reach it anyway.
        task.downloadOptions = ["--allow-files"] + Self.allowing(urls)
        task.uploadOptions = Self.allowing([own].compactMap { $0 })
        task.authorities = connection.authorityFile.map { [$0] } ?? []
        task.environment = try environment.map(Self.variable)
        task.platform = [("CF_STACK", rootfs.compatible), ("MEMORY_LIMIT", "\(memory)m")]
        task.limits.memory = Int64(memory) << 20
        task.limits.disk = Int64(disk) << 20
        task.limits.time = .seconds(timeLimit)
        task.network = network ? SandboxNetwork(refused: refuse) : nil
        return task
    }

    private static func allowing(_ urls: [URL]) -> [String] {
        var options = urls.compactMap(\.host).flatMap { ["--allow-host", $0] }
        if urls.contains(where: { $0.scheme?.lowercased() == "http" }) { options.append("--allow-http") }
        return options
    }

    private static func variable(_ text: String) throws -> (name: String, value: String) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let name = parts.first, !name.isEmpty else {
            throw ValidationError("--env takes NAME=VALUE or NAME.")
        }
        if parts.count == 2 { return (name, parts[1]) }
        guard let value = ProcessInfo.processInfo.environment[name] else {
            throw CommandError("--env \(printable(name)): there is no such variable here")
        }
        return (name, value)
    }

    // MARK: The root filesystem

    private struct BuildRootfs {
        let stack: String
        /// What buildpacks see the stack as.
        let compatible: String
        let version: String
        let isForBuilds: Bool
        let layer: Digest
        let path: String

        var name: String { "\(stack) \(version)" + (isForBuilds ? " (build)" : "") }
    }

    /// What builds of the stack's current version run in: its build rootfs; where the stack has none at all, what apps
    /// run on.
    private func buildRootfs(_ client: ServerClient) async throws -> BuildRootfs {
        let stack = if let stack { stack } else { try await onlyStack(client) }
        let current: Current = try await client.send(.get, apiPath("rootfs", stack, "current"))
        let builds: Versions = try await client.send(.get, apiPath("rootfs", stack, query: ["kind": "build"]))
        let isForBuilds = !builds.versions.isEmpty
        let wanted = buildVersion ?? current.version
        let candidates =
            if isForBuilds { builds } else { try await client.send(.get, apiPath("rootfs", stack)) as Versions }
        guard
            let version = candidates.versions.first(where: {
                $0.version == wanted && $0.architecture.rawValue == StagingPlace.architecture
            })
        else {
            let others = Set(candidates.versions.map(\.version)).sorted().joined(separator: ", ")
            throw CommandError(
                """
                \(printable(stack)) \(printable(wanted)) has nothing for \(StagingPlace.architecture) that builds can \
                run in: import it with `cistern rootfs import --kind build --stack \(printable(stack)) \
                --version \(printable(wanted)) FILE`, or choose one with --build-version \
                (there are: \(printable(others)))
                """)
        }
        guard let layer = version.layers.first?.digest, version.layers.count == 1 else {
            throw CommandError("\(printable(stack)) \(printable(wanted)) can't be unpacked: it has several layers")
        }
        return BuildRootfs(
            stack: stack, compatible: current.compatible ?? stack, version: version.version,
            isForBuilds: isForBuilds, layer: layer,
            path: apiPath(
                "rootfs", stack, version.version, "export",
                query: ["arch": StagingPlace.architecture, "kind": isForBuilds ? "build" : nil]))
    }

    private func onlyStack(_ client: ServerClient) async throws -> String {
        let all: Versions = try await client.send(.get, apiPath("rootfs"))
        let stacks = Set(all.versions.map(\.stack)).sorted()
        guard let stack = stacks.first else {
            throw CommandError(
                """
                the server has no root filesystem: import one with \
                `cistern rootfs import --stack STACK --version VERSION --promote FILE`
                """)
        }
        guard stacks.count == 1 else {
            throw CommandError("there are several stacks: give --stack (\(printable(stacks.joined(separator: ", "))))")
        }
        return stack
    }
}
