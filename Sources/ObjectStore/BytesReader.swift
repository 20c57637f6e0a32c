import Synchronization

/// An open object whose bytes are in memory.
final class BytesReader: ObjectReader {
    let info: ObjectInfo
    private let bytes: Mutex<[UInt8]?>

    init(_ object: StoredObject) {
        info = object.info
        bytes = Mutex(object.bytes)
    }

    var fileDescriptor: Int32? { nil }

    func read(at offset: Int64, maximum: Int) async throws(ObjectStoreError) -> [UInt8] {
        guard let bytes = bytes.withLock({ $0 }) else { throw .io("\(info.key) was closed") }
        guard offset >= 0, maximum > 0, offset < bytes.count else { return [] }
        return Array(bytes[Int(offset)...].prefix(maximum))
    }

    func close() async { bytes.withLock { $0 = nil } }
}
