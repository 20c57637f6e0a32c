import Glibc
import Runtime

/// Closes unlinked files on threads of its own. Closing one frees its blocks, for which a file system may wait for the
/// disk (ext4 does, with each file, when it is mounted with `discard`).
final class FileReleaser: Sendable {
    /// How many files may wait to be closed; beyond that, callers close their files themselves.
    private static let maximum = 256

    private let pool = BlockingPool(name: "store-release", threads: 4)
    private let waiting = Monitor(0, signals: 1)

    func release(_ files: [Int32]) {
        if files.isEmpty { return }
        let hasRoom = waiting.withLock { waiting in
            guard waiting + files.count <= Self.maximum else { return false }
            waiting += files.count
            return true
        }
        guard hasRoom else { return Self.close(files) }
        pool.submit { [waiting] in
            Self.close(files)
            let isLast = waiting.withLock { waiting in
                waiting -= files.count
                return waiting == 0
            }
            if isLast { waiting.wake(0) }
        }
    }

    private static func close(_ files: [Int32]) {
        for file in files { Glibc.close(file) }
    }

    /// Returns when no file waits to be closed any more.
    func settle() { waiting.wait(for: 0) { $0 == 0 ? .done(()) : .until(nil) } }

    /// Ends the threads once all waiting files are closed.
    func stop() { pool.stop() }
}
