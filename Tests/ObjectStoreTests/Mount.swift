import Foundation
import Testing

/// A small file system of its own, mounted for one test.
struct Mount {
    enum Kind: String, CaseIterable {
        case tmpfs, ext4
    }

    let path: String

    /// - Parameters:
    ///   - megabytes: its size.
    ///   - inodes: how many files it can hold, for tmpfs.
    static func with<Value>(
        _ kind: Kind, megabytes: Int, inodes: Int? = nil, _ body: (Mount) async throws -> Value
    ) async throws -> Value {
        try await withTemporaryDirectory { directory in
            let mount = Mount(path: directory + "/mount")
            try FileManager.default.createDirectory(atPath: mount.path, withIntermediateDirectories: false)
            switch kind {
            case .tmpfs:
                let limit = inodes.map { ",nr_inodes=\($0)" } ?? ""
                try run("mount", "-t", "tmpfs", "-o", "size=\(megabytes)m\(limit)", "tmpfs", mount.path)
            case .ext4:
                let image = directory + "/image"
                try run("truncate", "-s", "\(megabytes)M", image)
                // No blocks kept for root, so that root too finds it full.
                try run("mkfs.ext4", "-q", "-m", "0", image)
                try run("mount", "-o", "loop", image, mount.path)
                try FileManager.default.removeItem(atPath: mount.path + "/lost+found")
            }
            let result: Result<Value, any Error>
            do { result = .success(try await body(mount)) } catch { result = .failure(error) }
            // Lazily: a store that a failed test did not close may still have files open.
            try run("umount", "-l", mount.path)
            return try result.get()
        }
    }

    func remount(_ options: String) throws { try Self.run("mount", "-o", "remount,\(options)", path) }

    private static func run(_ program: String, _ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(program) \(arguments) failed: tests that mount need root")
    }
}
