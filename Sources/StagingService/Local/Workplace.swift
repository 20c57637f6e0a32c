import Foundation
import Glibc
import Staging

/// A directory for one piece of work in sandboxes, removed with this object. Its lock says that the process lives whose
/// work it is, so that another one can remove what a killed process left.
final class Workplace: Sendable {
    private static let prefix = "task-"

    let path: String
    private let lock: Int32

    /// - Parameter name: of the directory; nothing of this name is there yet.
    /// - Throws: `SandboxError.system`.
    init(in directory: String, name: String) throws(SandboxError) {
        path = "\(directory)/\(Self.prefix)\(name)"
        try Self.make(path, 0o711)
        lock = open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else { throw .system(path, errno) }
    }

    deinit {
        try? FileTree.remove(path)
        close(lock)
    }

    /// Makes a directory in it. What sandboxes use may be passed by other users (0711).
    /// - Parameter mode: whatever this process's umask is.
    func make(_ path: String, _ mode: mode_t) throws(SandboxError) { try Self.make(path, mode) }

    private static func make(_ path: String, _ mode: mode_t) throws(SandboxError) {
        guard mkdir(path, mode) == 0 else { throw .system(path, errno) }
        chmod(path, mode)
    }

    /// Removes the directories of work whose process was killed.
    /// - Parameter isExclusive: whether no other process uses the directory.
    static func removeLeftovers(in directory: String, isExclusive: Bool) {
        ControlGroup.removeLeftovers()
        for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        where name.hasPrefix(prefix) {
            let path = "\(directory)/\(name)"
            let lock = open(path + "/lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
            defer { if lock >= 0 { close(lock) } }
            if lock >= 0, flock(lock, LOCK_EX | LOCK_NB) != 0 { continue }
            // Without a lock it was just made by another process, or is half removed; the first does not last.
            var status = stat()
            if lock < 0, !isExclusive, stat(path, &status) == 0, time(nil) - status.st_mtim.tv_sec < 60 { continue }
            Sandbox.unmountLeftovers(below: path)
            try? FileTree.remove(path)
        }
    }
}
