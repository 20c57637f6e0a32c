import Foundation

/// Where programs are found.
public enum Programs {
    /// `PATH`, and the directories of daemons, which a root shell may lack.
    static let searchPath: [String] = {
        let path = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":").map(
            String.init)
        return path + ["/usr/local/sbin", "/usr/sbin", "/sbin"].filter { !path.contains($0) }
    }()

    /// The directory of what this build made: the test bundle lies beside the executables.
    public static let builtDirectory: String = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "."
        return (own as NSString).deletingLastPathComponent
    }()

    /// The repository's root directory.
    public static let repository: String = {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
    }()

    /// The path of a program: as given if it has a slash, else what this build made, else in `searchPath`.
    /// - Throws: `CommandError.notFound`.
    public static func path(of program: String) throws -> String {
        let places = program.contains("/") ? [""] : [builtDirectory + "/"] + searchPath.map { $0 + "/" }
        for place in places where access(place + program, X_OK) == 0 {
            return place + program
        }
        throw CommandError.notFound(program)
    }
}
