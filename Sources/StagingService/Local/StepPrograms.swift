import CLinux
import Foundation
import Glibc
import OCI

/// The programs of the three steps.
public struct StepPrograms: Sendable {
    public let download: String
    public let upload: String
    private let build: String

    /// - Parameter directory: where they lie beside each other.
    /// - Throws: `.noStep`.
    public init(in directory: String) throws(SandboxError) {
        for name in ["stage-download", "stage-build", "stage-upload"]
        where access("\(directory)/\(name)", X_OK) != 0 {
            throw .noStep(path: "\(directory)/\(name)")
        }
        download = directory + "/stage-download"
        upload = directory + "/stage-upload"
        build = directory + "/stage-build"
    }

    /// The command that starts `stage-build` where its bundle is mounted as `/lifecycle`.
    static let buildCommand = [
        "/lifecycle/lib/ld.so", "--inhibit-cache", "--library-path", "/lifecycle/lib", "/lifecycle/stage-build",
    ]

    /// The directory with `stage-build` and, in `lib`, its loader and libraries, so that it starts on any root
    /// filesystem: the one that it was installed in, or one that is made below `cache` and named by what is in it.
    func buildBundle(cache: String) throws(SandboxError) -> String {
        let beside = build.split(separator: "/").dropLast().joined(separator: "/")
        if access("/\(beside)/lib/ld.so", X_OK) == 0 { return "/" + beside }
        let libraries = try Self.libraries(of: build)
        var description = ""
        for (name, path) in [("stage-build", build)] + libraries.sorted(by: { $0.key < $1.key }) {
            var status = stat()
            guard stat(path, &status) == 0 else { throw .system(path, errno) }
            description += "\(name) \(path) \(status.st_ino) \(status.st_size) \(status.st_mtim.tv_sec)."
            description += "\(status.st_mtim.tv_nsec)\n"
        }
        let directory = "\(cache)/steps-\(Digest.of(Array(description.utf8)).hex.prefix(32))"
        if access(directory, F_OK) == 0 { return directory }
        let partial = "\(directory).\(UUID().uuidString)"
        do {
            let files = FileManager.default
            defer { try? files.removeItem(atPath: partial) }
            try files.createDirectory(atPath: partial + "/lib", withIntermediateDirectories: true)
            // Whoever the build runs as has to read them, whatever this process's umask is.
            for directory in [partial, partial + "/lib"] { chmod(directory, 0o755) }
            try files.copyItem(atPath: build, toPath: partial + "/stage-build")
            chmod(partial + "/stage-build", 0o755)
            for (name, path) in libraries {
                // A library's name is often a link's.
                let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
                try files.copyItem(atPath: real, toPath: "\(partial)/lib/\(name)")
                chmod("\(partial)/lib/\(name)", 0o755)
            }
            try Self.removeOthers(than: directory, in: cache)
            guard rename(partial, directory) == 0 || errno == EEXIST || errno == ENOTEMPTY else {
                throw SandboxError.system(directory, errno)
            }
        } catch let error as SandboxError {
            throw error
        } catch {
            throw .isolation("stage-build and its libraries can't be copied to \(directory)")
        }
        return directory
    }

    /// Removes bundles of programs that were replaced, and what was left half done: those that are older than any build.
    private static func removeOthers(than directory: String, in cache: String) throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: cache) where name.hasPrefix("steps-") {
            let path = "\(cache)/\(name)"
            var status = stat()
            guard path != directory, stat(path, &status) == 0, time(nil) - status.st_mtim.tv_sec > 2 * 86_400 else {
                continue
            }
            try? FileManager.default.removeItem(atPath: path)
        }
    }

    /// The loader, as `ld.so`, and the libraries of a program, by the names that it asks for (ld.so(8)).
    private static func libraries(of program: String) throws(SandboxError) -> [String: String] {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.environment = ["LD_TRACE_LOADED_OBJECTS": "1"]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { throw .isolation("\(program) can't be run") }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        var libraries: [String: String] = [:]
        for line in text.split(separator: "\n") {
            // "NAME => PATH (ADDRESS)", and the loader's own path alone.
            let words = line.split(whereSeparator: \.isWhitespace)
            if words.count >= 3, words[1] == "=>" {
                guard words[2].hasPrefix("/") else {
                    throw .isolation("\(program) needs \(words[0]), which is missing")
                }
                libraries[String(words[0])] = String(words[2])
            } else if let path = words.first, path.hasPrefix("/") {
                libraries["ld.so"] = String(path)
            }
        }
        guard process.terminationStatus == 0, libraries["ld.so"] != nil else {
            throw .isolation("the libraries of \(program) can't be found out")
        }
        return libraries
    }
}
