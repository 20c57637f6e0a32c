import Glibc
import Runtime
import Synchronization

/// The lock by which one process owns a store's directory; the kernel drops it when the process ends.
final class Ownership: Sendable {
    private let file: Mutex<Int32?>

    /// - Throws: `.owned` with the owner's process and when it started to own the store.
    init(_ files: LinuxFileSystem) throws(ObjectStoreError) {
        let file = try withStoreErrors { () throws(FileSystemError) in try files.open(StorePaths.lock, .readWrite) }
        self.file = Mutex(file)
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            defer { giveUp() }
            guard code == EWOULDBLOCK else {
                throw ObjectStoreError(FileSystemError(code: code, action: "locking the store"))
            }
            let owner = (try? files.readAll(file, size: 200)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            throw .owned(owner.isEmpty ? "another process" : owner.filter { !$0.isNewline })
        }
        let text = Array("process \(getpid()), since \(Timestamp(nanoseconds: SystemClock.now()).rfc3339)\n".utf8)
        try withStoreErrors { () throws(FileSystemError) in
            try text.withRawBytes { (bytes) throws(FileSystemError) in try files.write(file, at: 0, bytes) }
        }
        ftruncate(file, text.count)
    }

    deinit { giveUp() }

    func giveUp() {
        file.withLock { file in
            if let open = file { close(open) }
            file = nil
        }
    }
}
