import Foundation
import Glibc

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

    /// The command that starts a program where its bundle is `/lifecycle`.
    static func command(_ program: String) -> [String] {
        ["/lifecycle/lib/ld.so", "--inhibit-cache", "--library-path", "/lifecycle/lib", "/lifecycle/\(program)"]
    }

    /// The directory with `stage-build` and, in `lib`, its loader and libraries, so that it starts on any root
    /// filesystem: the one that it was installed in, or one that is made below `cache` and named by what is in it.
    func buildBundle(cache: String) throws(SandboxError) -> String {
        let beside = build.split(separator: "/").dropLast().joined(separator: "/")
        if access("/\(beside)/lib/ld.so", X_OK) == 0 { return "/" + beside }
        let bundle = try ProgramBundle(of: [build])
        let directory = "\(cache)/steps-\(try bundle.identity)"
        if access(directory, F_OK) == 0 { return directory }
        let partial = "\(directory).\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: partial) }
        try bundle.copy(to: partial)
        Self.removeOthers(than: directory, in: cache)
        guard rename(partial, directory) == 0 || errno == EEXIST || errno == ENOTEMPTY else {
            throw .system(directory, errno)
        }
        return directory
    }

    /// Removes bundles of programs that were replaced, and what was left half done: those that are older than any build.
    private static func removeOthers(than directory: String, in cache: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: cache)) ?? [] where name.hasPrefix("steps-") {
            let path = "\(cache)/\(name)"
            var status = stat()
            guard path != directory, stat(path, &status) == 0, time(nil) - status.st_mtim.tv_sec > 2 * 86_400 else {
                continue
            }
            try? FileManager.default.removeItem(atPath: path)
        }
    }
}
