import CLinux
import Foundation
import Glibc
public import OCI
import Runtime
import Staging

/// Root filesystems that were unpacked for sandboxes, the ones used last: `DIR/2-<digest of the layer>/`, each whole or
/// not there. Several processes may use the directory: a lock beside each says who reads or makes it.
public struct RootfsCache: Sendable {
    /// How many are kept besides those in use.
    static let maximumCount = 4

    private let directory: String

    /// The first number grows when what is unpacked changes: an earlier one did not keep the modes of mount points.
    private static func name(_ digest: Digest) -> String { "2-\(digest.hex)" }

    /// - Parameter directory: made if it is missing.
    public init(directory: String) { self.directory = directory }

    /// A root filesystem that is not removed before this object is released.
    public final class Use: Sendable {
        public let path: String
        private let lock: Int32

        fileprivate init(path: String, lock: Int32) {
            self.path = path
            self.lock = lock
        }

        deinit { close(lock) }
    }

    /// Gives the files of a layer, after fetching and unpacking it if it is not here yet.
    /// - Parameters:
    ///   - digest: the layer's, as it is stored.
    ///   - fetch: writes the layer into a new file; its digest is checked.
    /// - Throws: `SandboxError`, `BuildError`, `CancellationError`, and what `fetch` throws.
    public func use(_ digest: Digest, fetch: (_ file: String) async throws -> Void) async throws -> Use {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        } catch { throw SandboxError.isolation("the directory \(directory) can't be made") }
        let path = "\(directory)/\(Self.name(digest))"
        let lock = open(path + ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard lock >= 0 else { throw SandboxError.system(path + ".lock", errno) }
        let use = Use(path: path, lock: lock)
        while true {
            try await Self.take(lock, LOCK_SH)
            if access(path, F_OK) == 0 { break }
            try await Self.take(lock, LOCK_EX)
            if access(path, F_OK) != 0 { try await make(digest, path, fetch) }
        }
        // The time of the last use.
        futimens(lock, nil)
        removeOldest(but: digest)
        return use
    }

    /// Waits for a lock that another process may hold for as long as unpacking takes.
    private static func take(_ lock: Int32, _ kind: Int32) async throws {
        while flock(lock, kind | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else { throw SandboxError.system("a lock", errno) }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    private func make(_ digest: Digest, _ path: String, _ fetch: (String) async throws -> Void) async throws {
        let (partial, archive) = (path + ".partial", path + ".archive")
        for left in [partial, archive] { try FileTree.remove(left) }
        defer { for left in [partial, archive] { try? FileTree.remove(left) } }
        try await fetch(archive)
        try await Self.run {
            let file = try Self.digest(of: archive)
            guard file == digest else {
                throw SandboxError.isolation("the root filesystem that came is \(file), not \(digest)")
            }
            try FileManager.default.createDirectory(atPath: partial, withIntermediateDirectories: false)
            chmod(partial, 0o755)
            var limits = FileTree.Limits()
            limits.bytes = 1 << 40
            _ = try DirectoryUnpacker.unpack(archive, into: partial, limits: limits)
            let tree = try RootfsTree(partial)
            for point in Sandbox.mountPoints { try tree.makeDirectory(point) }
            // Whatever the root filesystem has there leads nowhere in a build's own network.
            try tree.replace("resolv.conf", in: "etc", by: SandboxNetwork.resolver)
        }
        guard rename(partial, path) == 0 else { throw SandboxError.system(path, errno) }
    }

    private static func digest(of path: String) throws -> Digest {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { throw SandboxError.system(path, errno) }
        defer { close(file) }
        var hasher = DigestHasher(.sha256)
        var piece = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = read(file, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SandboxError.system(path, errno) }
            if count == 0 { return hasher.finish() }
            hasher.update(piece[..<count])
        }
    }

    /// Runs what blocks on a thread of its own.
    private static func run(_ body: @escaping @Sendable () throws -> Void) async throws {
        let result = await withCheckedContinuation { (done: CheckedContinuation<Result<Void, any Error>, Never>) in
            let started = SystemThread.start(named: "unpack") { done.resume(returning: Result { try body() }) }
            if !started { done.resume(returning: .failure(SandboxError.isolation("there are no threads left"))) }
        }
        try result.get()
    }

    /// Removes those whose last use is longest ago, if nobody uses them.
    private func removeOldest(but digest: Digest) {
        var others: [(name: String, used: Int)] = []
        for file in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        where file.hasSuffix(".lock") {
            let name = String(file.dropLast(5))
            var status = stat()
            if name != Self.name(digest), stat("\(directory)/\(file)", &status) == 0 {
                others.append((name, Int(status.st_mtim.tv_sec)))
            }
        }
        for (name, _) in others.sorted(by: { $0.used > $1.used }).dropFirst(Self.maximumCount - 1) {
            let path = "\(directory)/\(name)"
            let lock = open(path + ".lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
            guard lock >= 0 else { continue }
            defer { close(lock) }
            guard flock(lock, LOCK_EX | LOCK_NB) == 0 else { continue }
            // Renamed first, so that it is never there in part. The lock's file goes last; who opened it meanwhile
            // makes the root filesystem again.
            let gone = path + ".gone"
            try? FileTree.remove(gone)
            if rename(path, gone) == 0 || errno == ENOENT {
                try? FileTree.remove(gone)
                for left in [".partial", ".archive", ".lock"] { try? FileTree.remove(path + left) }
            }
        }
    }
}
