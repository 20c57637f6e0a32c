import Glibc
import Runtime
import Synchronization

/// An open file, closed when nobody uses it any more.
final class OpenFile: Sendable {
    let descriptor: Int32
    private let files: any FileSystem

    init(_ descriptor: Int32, _ files: any FileSystem) {
        self.descriptor = descriptor
        self.files = files
    }

    deinit { files.close(descriptor) }
}

/// An open object whose bytes are in a file.
final class FileObjectReader: FileBackedReader {
    let info: ObjectInfo
    /// nil once closed. A read that is under way keeps the file open until it has ended.
    private let file: Mutex<OpenFile?>
    private let engine: StoreEngine

    init(_ file: OpenFile, _ info: ObjectInfo, _ engine: StoreEngine) {
        self.info = info
        self.file = Mutex(file)
        self.engine = engine
    }

    var fileDescriptor: Int32? { file.withLock { $0?.descriptor } }

    func read(at offset: Int64, maximum: Int) async throws(ObjectStoreError) -> [UInt8] {
        guard let file = file.withLock({ $0 }) else { throw .io("\(info.key) was closed") }
        guard offset >= 0, maximum > 0, offset < info.size else { return [] }
        let count = min(Int64(maximum), info.size - offset)
        let files = engine.files
        let key = info.key
        return try await engine.readers.run { () throws(ObjectStoreError) in
            let bytes = try withStoreErrors { () throws(FileSystemError) in
                try files.readAll(file.descriptor, at: offset, size: count)
            }
            guard bytes.count == count else { throw .io("\(key) is shorter than it was") }
            return bytes
        }
    }

    func close() async { file.withLock { $0 = nil } }
}

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
