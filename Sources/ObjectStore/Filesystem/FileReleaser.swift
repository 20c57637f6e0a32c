import Glibc

/// Closes files whose names are gone, on threads of its own: where that gives a file's bytes back a file system may wait
/// for the disk (ext4 does, with each file, when it is mounted with `discard`).
final class FileReleaser: Sendable {
    /// Files that wait; with more, callers close theirs themselves.
    private static let maximum = 256

    private let pool = BlockingPool(name: "store-release", threads: 4)
    private let waiting = Monitor(0, signals: 1)

    func release(_ file: Int32) {
        let hasRoom = waiting.withLock { waiting in
            guard waiting < Self.maximum else { return false }
            waiting += 1
            return true
        }
        guard hasRoom else {
            Glibc.close(file)
            return
        }
        pool.submit { [waiting] in
            Glibc.close(file)
            if waiting.withLock({
                $0 -= 1; return $0
            }) == 0 {
                waiting.wake(0)
            }
        }
    }

    /// Waits until no file does.
    func settle() { waiting.wait(for: 0) { $0 == 0 ? .done(()) : .until(nil) } }

    /// Ends the threads once no file waits.
    func stop() { pool.stop() }
}
