import Runtime
import Synchronization

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
