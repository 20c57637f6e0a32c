import Glibc
import Runtime
import Synchronization

/// Where things lie in the store's directory:
///
///     lock               held by the owner, whose process it names
///     reserve            space given up when the disk is full
///     tmp/<token>-<n>    files being written; the next start removes those that the journal does not name
///     journal/<frame>    segments of the journal, named by their first frame in 16 hexadecimal digits
///     objects/<key>      each object's bytes and nothing else
enum StorePaths {
    static let lock = "lock"
    static let reserve = "reserve"
    static let temporary = "tmp"
    static let journal = "journal"
    static let objects = "objects"

    static func object(_ key: ObjectKey) -> String { "\(objects)/\(key.text)" }

    static func temporary(_ name: String) -> String { "\(temporary)/\(name)" }

    static func segment(_ firstFrame: UInt64) -> String {
        let digits = String(firstFrame, radix: 16)
        return "\(journal)/" + String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}

/// The locks by which one process owns a store's directory; the kernel drops them when the process ends.
///
/// The directory itself is locked, since a file in it can be removed and made anew, and the file `lock`, which says whose
/// the store is and which earlier versions lock alone.
final class Ownership: Sendable {
    private let files: Mutex<[Int32]>

    /// - Throws: `.owned` with the owner's process and when it started to own the store.
    init(_ files: LinuxFileSystem) throws(ObjectStoreError) {
        let directory = try withStoreErrors { () throws(FileSystemError) in try files.openRoot() }
        self.files = Mutex([directory])
        let file = try withStoreErrors { () throws(FileSystemError) in try files.open(StorePaths.lock, .readWrite) }
        self.files.withLock { $0.append(file) }
        guard flock(directory, LOCK_EX | LOCK_NB) == 0, flock(file, LOCK_EX | LOCK_NB) == 0 else {
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
        files.withLock { files in
            for file in files { close(file) }
            files = []
        }
    }
}

/// A readers–writer lock: the applier holds it alone for each change of the tree, and readers of directories share it.
/// Some file systems take a name out and put it back when a file is replaced, and a reader would miss that name.
final class TreeLock: @unchecked Sendable {
    private let lock: UnsafeMutablePointer<pthread_rwlock_t>

    init() {
        lock = .allocate(capacity: 1)
        lock.initialize(to: pthread_rwlock_t())
        var attributes = pthread_rwlockattr_t()
        pthread_rwlockattr_init(&attributes)
        // Readers that follow one another without a pause must not keep the applier out.
        pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
        pthread_rwlock_init(lock, &attributes)
        pthread_rwlockattr_destroy(&attributes)
    }

    deinit {
        pthread_rwlock_destroy(lock)
        lock.deinitialize(count: 1)
        lock.deallocate()
    }

    func read<Value, Failure: Error>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        pthread_rwlock_rdlock(lock)
        defer { pthread_rwlock_unlock(lock) }
        return try body()
    }

    func change<Value, Failure: Error>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        pthread_rwlock_wrlock(lock)
        defer { pthread_rwlock_unlock(lock) }
        return try body()
    }
}
