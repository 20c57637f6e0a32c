import Foundation
import JSON
import OCI
import TestSupport
import Testing

/// The directories of a staging task, the programs of its steps, and the servers that they talk to.
struct StepWorld: Sendable {
    let directory: String
    var buildpacks: String { directory + "/buildpacks" }
    var workspace: String { directory + "/workspace" }
    var output: String { directory + "/out" }

    static func with<Value>(_ body: (StepWorld) async throws -> Value) async throws -> Value {
        try await withTemporaryDirectory { directory in
            let world = StepWorld(directory: directory)
            try FileManager.default.createDirectory(atPath: world.output, withIntermediateDirectories: false)
            return try await body(world)
        }
    }

    /// Arguments of both steps: http and the loopback address are allowed.
    static let local = ["--allow-http", "--allow-host", "127.0.0.1"]

    func downloadArguments(_ more: [String] = local) -> [String] {
        ["--buildpacks", buildpacks, "--workspace", workspace, "--task", directory + "/task.json"] + more
    }

    func uploadArguments(_ more: [String] = local) -> [String] {
        ["--buildpacks", buildpacks, "--output", output, "--task", directory + "/task.json"] + more
    }

    func write(task: JSONValue) throws { try write(task.canonicalBytes, "task.json") }

    func write(_ bytes: [UInt8], _ name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: directory + "/" + name))
    }

    func download(_ task: JSONValue, _ more: [String] = local) async throws -> CommandResult {
        try write(task: task)
        return try await run("stage-download", downloadArguments(more))
    }

    func upload(_ task: JSONValue, _ more: [String] = local) async throws -> CommandResult {
        try write(task: task)
        return try await run("stage-upload", uploadArguments(more))
    }

    func read(_ path: String) -> [UInt8]? { FileManager.default.contents(atPath: path).map { Array($0) } }

    /// The list that download writes, or nil.
    func list() throws -> JSONValue? { try read(buildpacks + "/config.json").map { try JSONValue(parsing: $0) } }

    /// Names of files below a directory, hidden ones and what lies in `.git` left out.
    func names(in path: String) -> [String] {
        let all = FileManager.default.subpaths(atPath: path) ?? []
        return all.filter { !$0.contains(".git/") }.sorted()
    }

    /// Makes a zip with the `zip` program.
    func zip(_ files: [String: String], _ name: String) async throws -> [UInt8] {
        let source = directory + "/" + name
        for (file, text) in files {
            let path = source + "/" + file
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            if text.hasPrefix("#!") { chmod(path, 0o755) }
        }
        let script = """
            import os, sys, zipfile
            with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as archive:
                for folder, _, names in os.walk(sys.argv[2]):
                    for name in names:
                        path = os.path.join(folder, name)
                        archive.write(path, os.path.relpath(path, sys.argv[2]))
            """
        try await runSuccessfully("python3", ["-c", script, source + ".zip", source])
        return try #require(read(source + ".zip"))
    }

    /// A git repository with two commits on `main`, the first of them tagged `v1`, and what serves it.
    func repository(_ files: [String: String], _ name: String = "repository") async throws -> String {
        let path = directory + "/" + name
        for (file, text) in files {
            let path = path + "/" + file
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            if text.hasPrefix("#!") { chmod(path, 0o755) }
        }
        try await git(["init", "--quiet", "--initial-branch=main"], in: path)
        try await git(["add", "--all"], in: path)
        try await git(["commit", "--quiet", "--message=one"], in: path)
        try await git(["tag", "v1"], in: path)
        try "second".write(toFile: path + "/VERSION", atomically: true, encoding: .utf8)
        try await git(["add", "--all"], in: path)
        try await git(["commit", "--quiet", "--message=two"], in: path)
        return path
    }

    @discardableResult
    func git(_ arguments: [String], in path: String) async throws -> String {
        try await runSuccessfully(
            "git", ["-c", "protocol.file.allow=always"] + arguments,
            environment: [
                "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a",
                "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": "/dev/null",
            ], directory: path
        ).output
    }

    /// Answers git's smart HTTP for the repositories of this world, by git's own program (git-http-backend(1)).
    func serveGit(_ request: ScriptedServer.Request, _ connection: ScriptedServer.Connection) async {
        let parts = request.target.split(separator: "?", maxSplits: 1).map(String.init)
        var environment = [
            "GIT_PROJECT_ROOT": directory, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": parts[0],
            "REQUEST_METHOD": request.method, "QUERY_STRING": parts.count > 1 ? parts[1] : "",
            "CONTENT_TYPE": request.header("Content-Type") ?? "", "CONTENT_LENGTH": String(request.body.count),
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        ]
        environment["GIT_PROTOCOL"] = request.header("Git-Protocol") ?? ""
        environment["HTTP_CONTENT_ENCODING"] = request.header("Content-Encoding") ?? ""
        let result = try? await run(
            "git", ["http-backend"], environment: environment, input: String(decoding: request.body, as: UTF8.self))
        guard let bytes = result?.stdout, let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
            return connection.answer(500)
        }
        let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n").map(String.init)
        let status = lines.first { $0.hasPrefix("Status: ") }.flatMap { Int($0.dropFirst(8).prefix(3)) } ?? 200
        connection.answer(status, lines.filter { !$0.hasPrefix("Status: ") }, Array(bytes[end.upperBound...]))
    }
}
