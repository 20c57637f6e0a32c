import Synchronization

/// An open object whose bytes are in memory.
public final class BytesReader: ObjectReader {
    public let info: ObjectInfo
    private let bytes: Mutex<[UInt8]?>

    public init(_ object: StoredObject) {
        info = object.info
        bytes = Mutex(object.bytes)
    }

    /// Wraps bytes that no store holds; their version is empty and their time 0.
    /// - Parameter key: names the bytes in `info` and in errors.
    public convenience init(_ bytes: [UInt8], at key: ObjectKey) {
        let info = ObjectInfo(key: key, size: Int64(bytes.count), version: ObjectVersion(token: ""), modified: 0)
        self.init(StoredObject(info: info, bytes: bytes))
    }

    public func read(at offset: Int64, maximum: Int) async throws(ObjectStoreError) -> [UInt8] {
        guard let bytes = bytes.withLock({ $0 }) else { throw .io("\(info.key) was closed") }
        guard offset >= 0, maximum > 0, offset < bytes.count else { return [] }
        return Array(bytes[Int(offset)...].prefix(maximum))
    }

    public func close() async { bytes.withLock { $0 = nil } }
}
