import Foundation
import TestSupport

/// What has to be below /home/vcap of a droplet's image: what GNU tar makes of the droplet, owned by vcap and without
/// setuid and setgid bits.
///
/// Directories that the droplet only implies have no date of their own, so theirs is not compared.
struct ExpectedTree {
    private let tree: FileTree
    private let undated: Set<[UInt8]>

    init(of droplet: String, unpackedIn directory: String) async throws {
        let started = Duration.seconds(Date().timeIntervalSince1970 - 2)
        try await runSuccessfully("mkdir", ["-p", directory])
        // Warnings about odd dates and unknown records are expected.
        try await runSuccessfully(
            "tar",
            [
                "--extract", "--delay-directory-restore", "--preserve-permissions", "--numeric-owner", "--file",
                droplet, "--directory", directory,
            ],
            environment: ["TZ": "UTC", "LC_ALL": "C.UTF-8"])
        let now = Duration.seconds(Date().timeIntervalSince1970 + 2)
        let unpacked = try FileTree(of: directory)
        undated = Set(
            unpacked.entries.filter { $1.type == S_IFDIR && started <= $1.modified && $1.modified <= now }.map(\.key))
        tree = unpacked.mapped { _, entry in
            entry.owner = 2000
            entry.group = 2000
            entry.mode &= 0o1777
        }
    }

    /// What differs in an image's files, one line each; empty if nothing does.
    /// - Parameters:
    ///   - root: the image's root directory.
    ///   - earliest: the earliest date that the client writes; podman takes 1970 for what is before.
    ///   - ignoringDirectoryDates: for layers that are shared: directories in deps/ have a constant date there.
    func differences(in root: String, earliest: Duration? = nil, ignoringDirectoryDates: Bool = false) throws
        -> [String]
    {
        let found = try FileTree(of: root + "/home/vcap")
        let compared = found.mapped { name, entry in
            let isUndated = undated.contains(name) || (ignoringDirectoryDates && entry.type == S_IFDIR)
            if isUndated, let expected = tree.entries[name] { entry.modified = expected.modified }
        }
        let expected = tree.mapped { _, entry in
            if let earliest { entry.modified = max(earliest, entry.modified) }
        }
        return compared.differences(from: expected)
    }
}
