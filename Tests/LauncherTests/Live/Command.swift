import Foundation
import Testing

/// A program that was run to its end.
struct Command {
    let exitCode: Int32
    let output: String
    let errors: String

    var lines: [String] { output.split(separator: "\n").map(String.init) }

    /// Runs a program with this environment and no other, for at most 30 seconds.
    init(_ words: [String], environment: [String: String] = [:], directory: URL) throws {
        let files = directory.appending(component: "command-\(UUID().uuidString)", directoryHint: .isDirectory)
        try FileManager.default.createDirectory(at: files, withIntermediateDirectories: false)
        let names = ["output", "errors"].map { files.appending(component: $0) }
        for name in names { try Data().write(to: name) }
        let handles = try names.map { try FileHandle(forWritingTo: $0) }
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/timeout")
        process.arguments = ["--foreground", "--signal=KILL", "30"] + words
        process.environment = environment
        process.currentDirectoryURL = directory
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = handles[0]
        process.standardError = handles[1]
        try process.run()
        process.waitUntilExit()
        for handle in handles { try handle.close() }
        exitCode = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
        output = String(decoding: try Data(contentsOf: names[0]), as: UTF8.self)
        errors = String(decoding: try Data(contentsOf: names[1]), as: UTF8.self)
    }
}

/// The program that was built together with these tests.
enum BuiltLaunch {
    static func url() throws -> URL {
        let bundle = try #require(CommandLine.arguments.first)
        let beside = URL(filePath: bundle).deletingLastPathComponent().appending(component: "launch")
        let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        let places = [beside, executable.deletingLastPathComponent().appending(component: "launch")]
        return try #require(
            places.first { FileManager.default.isExecutableFile(atPath: $0.path(percentEncoded: false)) },
            "build the product `launch` first: it is not beside the tests, at \(places.map { $0.path(percentEncoded: false) })"
        )
    }
}
