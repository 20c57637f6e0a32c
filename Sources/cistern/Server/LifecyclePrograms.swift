import Foundation
import Images
import Rootfs
import Runtime

/// Where the programs of the lifecycle layer are: given, or beside `cistern` for the machine's own architecture.
struct LifecyclePrograms: Sendable {
    /// The largest program that is taken, in bytes.
    static let maximumSize = 64 << 20

    private let directories: [Architecture: String]

    /// - Parameter given: texts of the form `ARCH=DIR`.
    /// - Throws: `CommandError` for any other.
    init(_ given: [String]) throws {
        var directories: [Architecture: String] = [:]
        for text in given {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, let architecture = try? Architecture(parts[0]) else {
                throw CommandError(
                    "--lifecycle '\(printable(text))' is not ARCH=DIR with the architecture amd64 or arm64")
            }
            directories[architecture] = parts[1]
        }
        if let own = Self.ownArchitecture, directories[own] == nil, let program = Bundle.main.executableURL {
            let beside = program.deletingLastPathComponent().path
            if FileManager.default.fileExists(atPath: beside + "/launch") { directories[own] = beside }
        }
        self.directories = directories
    }

    /// The bytes of each architecture's `launch`.
    func launch() throws -> [Architecture: [UInt8]] {
        var programs: [Architecture: [UInt8]] = [:]
        for (architecture, directory) in directories {
            let path = directory + "/launch"
            do { programs[architecture] = try SmallFile.read(path, maximum: Self.maximumSize) } catch {
                throw CommandError(
                    "\(path) can't be read (\(error.reason)): give --lifecycle \(architecture)=DIR with a 'launch' in it"
                )
            }
        }
        return programs
    }

    private static var ownArchitecture: Architecture? {
        #if arch(x86_64)
            .amd64
        #elseif arch(arm64)
            .arm64
        #else
            nil
        #endif
    }
}
