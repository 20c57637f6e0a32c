import Foundation
import JSON
import Launcher
import Staging
import TestSupport

/// A buildpack made of shell scripts.
struct FakeBuildpack: Sendable {
    var name: String
    var key: String
    var skipsDetect: Bool
    /// By the script's name; without `#!`.
    var scripts: [String: String]
    /// What stands between the buildpack's directory and `bin`, with a slash at its end.
    var nesting = ""
    /// Scripts that nobody may execute.
    var notExecutable: Set<String> = []

    init(
        _ name: String, key: String? = nil, skipsDetect: Bool = false, nesting: String = "",
        notExecutable: Set<String> = [], _ scripts: [String: String]
    ) {
        self.name = name
        self.key = key ?? "key-\(name)"
        self.skipsDetect = skipsDetect
        self.scripts = scripts
        self.nesting = nesting
        self.notExecutable = notExecutable
    }
}

/// What came of a build.
struct BuildOutcome {
    let error: BuildError?
    /// `result.json`.
    let result: JSONValue?
    /// What was printed, by the build and by the buildpacks.
    let log: String
    /// The droplet's entries as `tar --list --verbose --numeric-owner --full-time` shows them.
    let listing: [String]
    /// The droplet unpacked.
    let droplet: String
    let dropletBytes: Data?
    /// The cache unpacked.
    let cache: String

    func file(_ name: String) -> String? { try? String(contentsOfFile: droplet + "/" + name, encoding: .utf8) }

    var stagingInfo: JSONValue? { file("staging_info.yml").flatMap { try? JSONValue(parsing: $0) } }

    var commands: [String: String]? {
        result?["process_types"]?.object?.compactMapValues(\.string).reduce(into: [:]) { $0[$1.key] = $1.value }
    }

    var buildpacks: [JSONValue] { result?["lifecycle_metadata"]?["buildpacks"]?.array ?? [] }
}

/// A directory with apps and buildpacks in it, for one test.
struct BuildWorld {
    let directory: String

    var workspace: String { directory + "/workspace" }
    var buildpacks: String { directory + "/buildpacks" }
    var output: String { directory + "/output" }
    var work: String { directory + "/work" }
    var app: String { directory + "/app" }

    /// Writes the files of an app and the buildpacks with their list.
    ///
    /// Scripts get their place by another process: what the tests start meanwhile would inherit this process's open
    /// files, and a file that is open for writing can't be executed.
    func write(app: [String: String] = [:], buildpacks: [FakeBuildpack]) async throws {
        let drafts = directory + "/drafts"
        try put("", at: drafts + "/.keep")
        for path in [self.app, workspace, self.buildpacks, output] {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
        for (name, text) in app {
            try put(text, at: self.app + "/" + name)
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: 1_600_000_000)], ofItemAtPath: self.app + "/" + name)
        }
        var list: [BuildpackList.Buildpack] = []
        for (index, buildpack) in buildpacks.enumerated() {
            let place = "bp\(index)"
            for (script, text) in buildpack.scripts {
                let path = "\(drafts)/\(place)/\(buildpack.nesting)bin/\(script)"
                try put("#!/bin/sh\n" + text + "\n", at: path)
                let mode = buildpack.notExecutable.contains(script) ? 0o644 : 0o755
                try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
            }
            if buildpack.scripts.isEmpty { try put("", at: "\(drafts)/\(place)/README") }
            list.append(
                .init(
                    key: buildpack.key, name: buildpack.name, skipsDetect: buildpack.skipsDetect, directory: place,
                    source: ""))
        }
        try await runSuccessfully("cp", ["-a", drafts + "/.", self.buildpacks])
        try put(BuildpackList(list).json.canonicalText, at: self.buildpacks + "/config.json")
    }

    func put(_ text: String, at path: String) throws {
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    /// Runs the build in this process.
    func build(
        environment: [BuildEnvironment.Variable] = [], cancellation: Cancellation = Cancellation(),
        limits: FileTree.Limits = FileTree.Limits()
    ) async throws -> BuildOutcome {
        var places = BuildPlaces(
            StagingFiles(buildpacks: buildpacks, workspace: workspace, output: output), work: work)
        places.app = app
        let log = directory + "/log"
        let variables = BuildEnvironment.make(
            own: Environment(["PATH=/usr/bin:/bin"]), requested: environment, home: places.home,
            temporary: places.temporary, epoch: 1)
        let error = try await onThread { [places] () -> BuildError? in
            let descriptor = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
            defer { close(descriptor) }
            var build = Build(
                places: places, environment: variables, log: BuildLog(descriptor: descriptor), errors: descriptor,
                cancellation: cancellation, graceTime: 1000, limits: limits)
            do throws(BuildError) {
                try build.run()
                return nil
            } catch {
                return error
            }
        }
        return try await outcome(error, log: (try? String(contentsOfFile: log, encoding: .utf8)) ?? "")
    }

    func outcome(_ error: BuildError?, log: String) async throws -> BuildOutcome {
        let result = try? JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: output + "/result.json")))
        func unpacked(_ name: String) async throws -> String {
            let target = directory + "/unpacked/\(name)"
            try? FileManager.default.removeItem(atPath: target)
            try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
            if FileManager.default.fileExists(atPath: output + "/\(name).tgz") {
                try await runSuccessfully("tar", ["-xzf", output + "/\(name).tgz", "-C", target])
            }
            return target
        }
        let droplet = output + "/droplet.tgz"
        var listing = ""
        if FileManager.default.fileExists(atPath: droplet) {
            listing = try await runSuccessfully(
                "tar", ["-tvzf", droplet, "--numeric-owner", "--full-time"], environment: ["TZ": "UTC"]
            ).output
        }
        return BuildOutcome(
            error: error, result: result, log: log, listing: listing.split(separator: "\n").map(String.init),
            droplet: try await unpacked("droplet"),
            dropletBytes: FileManager.default.contents(atPath: droplet), cache: try await unpacked("cache"))
    }
}

/// Gives a world to the body and removes it afterwards.
func withBuildWorld<Value>(_ body: (BuildWorld) async throws -> Value) async throws -> Value {
    try await withTemporaryDirectory { try await body(BuildWorld(directory: $0)) }
}

/// Whether a process runs, whose id a script wrote down. One that is dead and that nobody has reaped does not.
func isRunning(_ text: some StringProtocol) -> Bool {
    let id = text.trimmingCharacters(in: .whitespacesAndNewlines)
    guard let status = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8) else { return false }
    return status.split(separator: ")").last?.split(separator: " ").first.map { !["Z", "X"].contains($0) } ?? false
}
