import CLinux
import Glibc

/// The uids of this machine that builds get: each task one that no other task has, whichever process runs it.
///
/// A task holds a lock on a file named by the uid, which ends with its process at the latest.
public struct HostUsers: Sendable {
    /// Above what systemd(1) gives to containers, and below what is negative in 32 bits.
    public static let standard: ClosedRange<UInt32> = 1_879_100_000...1_879_100_255

    private let range: ClosedRange<UInt32>
    private let directory: String

    /// - Parameters:
    ///   - range: without 0, and without uids of users.
    ///   - directory: where the locks lie; made if it is missing.
    public init(range: ClosedRange<UInt32> = standard, directory: String = "/run/cistern-builds") {
        self.range = range
        self.directory = directory
    }

    /// A uid, taken until this object is released.
    final class Lease: Sendable {
        let uid: UInt32
        private let descriptor: Int32

        fileprivate init(uid: UInt32, descriptor: Int32) {
            self.uid = uid
            self.descriptor = descriptor
        }

        deinit { close(descriptor) }
    }

    /// - Throws: `.isolation` if all are taken, `.system`.
    func take() throws(SandboxError) -> Lease {
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else { throw .system(directory, errno) }
        for uid in range where uid != 0 {
            let path = "\(directory)/\(uid)"
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard descriptor >= 0 else { throw .system(path, errno) }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return Lease(uid: uid, descriptor: descriptor) }
            close(descriptor)
        }
        throw .isolation("all \(range.count) user ids for builds (\(range.lowerBound) and up) are in use")
    }
}
