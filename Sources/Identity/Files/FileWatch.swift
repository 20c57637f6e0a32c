import Glibc

/// Tells when files were replaced, by looking at them now and then. Links are followed, so that a swap of a link is
/// seen wherever it is in the path.
///
/// What has changed is reported at the next look at which it has not changed again, so that files which belong together
/// and are written one after the other are taken together, and none is taken while it is being written.
struct FileWatch {
    /// Another file, or the same one with other content.
    private struct Fingerprint: Equatable {
        let device: UInt
        let inode: UInt
        let size: Int
        let changed: [Int]
    }

    let paths: [String]
    private var taken: [Fingerprint?]?
    private var seen: [Fingerprint?]?

    init(paths: [String]) { self.paths = paths }

    /// Whether the files are others than those that were reported last, and have been since the last look. What is
    /// there at first counts as changed.
    mutating func look() -> Bool {
        let now = paths.map(Self.fingerprint)
        defer { seen = now }
        guard now == seen, now != taken else { return false }
        taken = now
        return true
    }

    private static func fingerprint(_ path: String) -> Fingerprint? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Fingerprint(
            device: UInt(status.st_dev), inode: UInt(status.st_ino), size: Int(status.st_size),
            changed: [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec])
    }
}
