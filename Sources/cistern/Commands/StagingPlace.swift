import Foundation
import OCI
import StagingService
import Transfer

/// Where stagings and boots on this machine keep things, and what they need of it.
struct StagingPlace {
    let rootfs: RootfsCache
    let tasks: String
    let bundles: String

    init(cache: String?) throws {
        let environment = ProcessInfo.processInfo.environment
        let base =
            cache ?? environment["XDG_CACHE_HOME"].map { $0 + "/cistern/staging" }
            ?? NSHomeDirectory() + "/.cache/cistern/staging"
        let path = URL(fileURLWithPath: base).standardizedFileURL.path
        rootfs = RootfsCache(directory: path + "/rootfs")
        bundles = path + "/steps"
        tasks = path + "/tasks"
        for directory in [bundles, tasks] {
            do { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) } catch {
                throw CommandError("the directory \(directory) can't be made: name another place with --cache")
            }
        }
    }

    /// The directory of `cistern`, which has the steps' programs and `launch` as well.
    static var programs: String { Bundle.main.executableURL?.deletingLastPathComponent().path ?? "." }

    /// The architecture whose programs run here.
    static var architecture: String {
        #if arch(arm64)
            "arm64"
        #else
            "amd64"
        #endif
    }

    /// Gives the files of a version's layer, after fetching and unpacking it if it is not here yet.
    /// - Parameters:
    ///   - name: of the version, for people.
    ///   - path: of its export.
    func use(_ layer: Digest, _ name: String, _ path: String, _ client: ServerClient) async throws -> RootfsCache.Use {
        try await rootfs.use(layer) { file in
            let bar = ProgressBar("fetching \(name)", total: 1)
            defer { bar.clear() }
            _ = try await client.download(path, to: file) { bar.note(byteCount($0)) }
        }
    }
}

/// Cancels work when the user presses Ctrl-C, or somebody ends the process, so that it can put things in order.
final class Interrupt: Sendable {
    private let signals = [SIGINT, SIGTERM, SIGHUP]

    func watch<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let task = Task { try await body() }
        let sources = signals.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number)
            source.setEventHandler { task.cancel() }
            source.resume()
            return source
        }
        defer { for source in sources { source.cancel() } }
        return try await task.value
    }
}
