import Foundation
import Images
import Rootfs
import Runtime
import Signatures

/// Small files that the server reads at its start.
enum ConfigurationFile {
    /// In bytes.
    static let maximumSize = 1 << 20

    /// - Throws: `CommandError` if the file can't be read, is too large or is no text.
    static func read(_ path: String) throws -> String {
        do { return try SmallFile.text(path, maximum: maximumSize) } catch {
            throw CommandError("\(printable(path)) can't be read: \(error.reason)")
        }
    }
}

/// The directories with the lifecycle layer's programs: those that are given, or that of `cistern` for the machine's
/// own architecture.
struct LifecyclePrograms: Sendable {
    /// The largest program that is taken, in bytes.
    static let maximumSize = 64 << 20

    private let directories: [Architecture: String]

    /// - Parameter given: texts of the form `ARCH=DIR`.
    /// - Throws: `CommandError` for a text of another form.
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

extension SigningKey {
    /// How many keys there may be: the current one, and earlier ones that verifiers still trust.
    private static let maximumCount = 4
    private static let maximumSize = 64 << 10

    /// Reads the keys of the setting `provenance.key`.
    /// - Parameter paths: separated by commas.
    /// - Throws: `CommandError`, which says nothing of what is in the files.
    static func read(_ paths: String) throws -> [SigningKey] {
        let paths = paths.split(separator: ",").map { String($0.trimmingBlanks) }.filter { !$0.isEmpty }
        guard paths.count <= maximumCount else {
            throw CommandError("\(Setting.table.provenanceKey.key) names more than \(maximumCount) files")
        }
        let keys = try paths.map { path in
            do { return try SigningKey(pem: try SmallFile.read(path, maximum: maximumSize, isSecret: true)) } catch {
                throw CommandError(
                    "\(printable(path)) can't sign provenance: \(reason(error)). "
                        + "A key is made with `(umask 077; openssl genpkey -algorithm ed25519 -out \(printable(path)))`"
                )
            }
        }
        guard Set(keys.map(\.id)).count == keys.count else {
            throw CommandError("\(Setting.table.provenanceKey.key) names the same key twice")
        }
        return keys
    }

    private static func reason(_ error: any Error) -> String {
        (error as? SmallFile.Failure)?.reason ?? "\(error)"
    }
}

extension Substring {
    fileprivate var trimmingBlanks: Substring {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return rest
    }
}
