import OCI

/// A checksummed run of records in the journal: all of its records are valid, or none is.
///
/// Frames are numbered without gaps through all segments. Each begins on a block of its own, so that writing one never
/// touches what was acknowledged before it. A header of 96 bytes: magic (8), number (8), the number of the last frame
/// known to be durable when this one was written (8), bytes of records (4), records (4), SHA-256 of these and the
/// records in hexadecimal (64).
struct JournalFrame {
    static let blockSize = 4096
    static let headerSize = 96
    /// Records are gathered into frames of at most so many bytes; a larger record gets one of its own.
    static let targetSize = 1 << 20
    private static let magic = Array("CSTNJRN1".utf8)

    let number: UInt64
    let durable: UInt64
    let records: [JournalRecord]
    /// In bytes, padding included.
    let size: Int

    static func paddedSize(payload: Int) -> Int {
        (headerSize + payload + blockSize - 1) / blockSize * blockSize
    }

    static func encode(_ records: some Collection<JournalRecord>, number: UInt64, durable: UInt64) -> [UInt8] {
        let payload = records.reduce(0) { $0 + $1.encodedSize }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(paddedSize(payload: payload))
        bytes.append(contentsOf: magic)
        bytes.append(integer: number)
        bytes.append(integer: durable)
        bytes.append(integer: UInt32(truncatingIfNeeded: payload))
        bytes.append(integer: UInt32(truncatingIfNeeded: records.count))
        bytes.append(contentsOf: [UInt8](repeating: 0, count: 64))
        for record in records { record.encode(into: &bytes) }
        let checksum = bytes.withUnsafeBytes { Self.checksum($0, payload: payload) }
        bytes.replaceSubrange(32..<headerSize, with: checksum.utf8)
        bytes.append(contentsOf: [UInt8](repeating: 0, count: paddedSize(payload: payload) - bytes.count))
        return bytes
    }

    /// Reads the frame at the beginning of some bytes; nil if there is no valid one.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.headerSize, bytes.prefix(8).elementsEqual(Self.magic) else { return nil }
        var header = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[8..<Self.headerSize]))
        guard let number = header.integer(UInt64.self), let durable = header.integer(UInt64.self),
            let payload = header.integer(UInt32.self), let count = header.integer(UInt32.self),
            let checksum = header.bytes(64), Int(payload) <= bytes.count - Self.headerSize,
            checksum.elementsEqual(Self.checksum(bytes, payload: Int(payload)).utf8)
        else { return nil }
        var body = ByteReader(
            UnsafeRawBufferPointer(rebasing: bytes[Self.headerSize..<Self.headerSize + Int(payload)]))
        var records: [JournalRecord] = []
        for _ in 0..<count {
            guard let record = JournalRecord(from: &body) else { return nil }
            records.append(record)
        }
        guard body.isAtEnd else { return nil }
        self.number = number
        self.durable = durable
        self.records = records
        self.size = Self.paddedSize(payload: Int(payload))
    }

    private static func checksum(_ frame: UnsafeRawBufferPointer, payload: Int) -> String {
        var hasher = DigestHasher(.sha256)
        hasher.update(UnsafeRawBufferPointer(rebasing: frame[..<32]))
        hasher.update(UnsafeRawBufferPointer(rebasing: frame[headerSize..<headerSize + payload]))
        return hasher.finish().hex
    }
}
