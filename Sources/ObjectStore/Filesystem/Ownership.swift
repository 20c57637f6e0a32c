import Glibc
import Runtime
import Synchronization

/// Where things lie in the store's directory:
///
///     lock               held by the owner, whose process it names
///     bounds             which frames the journal must hold
///     reserve            space given up when the disk is full
///     tmp/<token>-<n>    files being written; the next start removes those that the journal does not name
///     journal/<frame>    segments of the journal, named by their first frame in 16 hexadecimal digits
///     objects/<key>      each object's bytes and nothing else
enum StorePaths {
    static let lock = "lock"
    static let bounds = "bounds"
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
/// One is of the file `lock`, which names the owner. The other is of the directory itself, so that nobody gets in when
/// that file was removed.
final class Ownership: Sendable {
    /// A line of `lock` by which owners that keep `bounds` say so. Earlier versions don't, and leave it out of date.
    private static let keepsBounds = "(keeps the journal's bounds)"

    private let files: LinuxFileSystem
    private let locks: Mutex<[Int32]>
    /// Whether the owner before kept `bounds`. Without a `lock` nothing says that it did not.
    let previousKeptBounds: Bool

    /// - Throws: `.owned` with the owner's process and when it started to own the store.
    init(_ files: LinuxFileSystem) throws(ObjectStoreError) {
        self.files = files
        let file = try withStoreErrors { () throws(FileSystemError) in try files.open(StorePaths.lock, .readWrite) }
        locks = Mutex([file])
        let text = (try? files.readAll(file, size: 200)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let lines = text.split(whereSeparator: \.isNewline)
        previousKeptBounds = lines.isEmpty || lines.last == Self.keepsBounds[...]
        do throws(FileSystemError) {
            let directory = try files.openRoot()
            locks.withLock { $0.append(directory) }
            // Some network file systems lock no directories.
            if flock(directory, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
                throw FileSystemError(code: EWOULDBLOCK, action: "locking the store")
            }
            guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
                throw FileSystemError(code: errno, action: "locking the store")
            }
        } catch {
            giveUp()
            guard error.code == EWOULDBLOCK else { throw ObjectStoreError(error) }
            throw .owned(lines.first.map(String.init) ?? "another process")
        }
    }

    deinit { giveUp() }

    /// Names this process in `lock`. Not before `bounds` is right, which is trusted from then on.
    func sign() throws(FileSystemError) {
        guard let file = locks.withLock({ $0.first }) else { return }
        let since = Timestamp(nanoseconds: SystemClock.now()).rfc3339
        let text = Array("process \(getpid()), since \(since)\n\(Self.keepsBounds)\n".utf8)
        try text.withRawBytes { (bytes) throws(FileSystemError) in try files.write(file, at: 0, bytes) }
        ftruncate(file, text.count)
        try files.sync(file, dataOnly: false)
    }

    func giveUp() {
        locks.withLock { locks in
            for lock in locks { close(lock) }
            locks = []
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
