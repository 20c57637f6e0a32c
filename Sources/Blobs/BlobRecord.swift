import JSON
import OCI
import ObjectStore
import Records

/// What the store knows of a digest: `blobs/<algorithm>/<2 hex>/<hex>`, changed by compare-and-swap only.
///
/// A record is a JSON document. The record of a small blob also holds its content: the document is padded with spaces
/// to `headerSize` bytes, of which the last is a line feed, and the content follows. So a listing tells the content's
/// size, and such a blob is created and deleted with one change.
struct BlobRecord: Hashable, Sendable {
    enum State: String {
        case live, gone
        /// Its bytes do not match the digest: they are kept for inspection, and not served.
        case quarantined
    }

    /// Where the bytes are.
    enum Content: Hashable, Sendable {
        /// The object under `data/` that holds them.
        case object(DataID)
        /// In the record itself.
        case inline([UInt8])
    }

    /// The length of the JSON document before inline content. A record without content is always shorter.
    static let headerSize = 128
    /// The largest content that is kept in its record: together they fill one block of a file system.
    static let maximumInline = 4096 - headerSize

    var content: Content
    /// In bytes.
    var size: Int64
    var lease: Lease
    var state: State
    /// Whether the digest's record named other bytes before, which were damaged or missing.
    var isMended = false

    static func key(_ digest: Digest) throws(BlobError) -> ObjectKey {
        try BlobError.key("blobs/\(digest.algorithm.rawValue)/\(digest.hex.prefix(2))/\(digest.hex)")
    }

    /// The digest that a record's key stands for; nil for any other key.
    static func digest(of key: ObjectKey) -> Digest? {
        let parts = key.text.split(separator: "/")
        guard parts.count == 4, let algorithm = DigestAlgorithm(rawValue: String(parts[1])) else { return nil }
        return try? Digest(algorithm, hex: String(parts[3]))
    }

    /// The bytes of inline content in a stored record, by the record's whole size.
    static func contentSize(ofRecord size: Int64) -> Int64 { max(0, size - Int64(headerSize)) }

    init(content: Content, size: Int64, lease: Lease, state: State, isMended: Bool = false) {
        self.isMended = isMended
        self.content = content
        self.size = size
        self.lease = lease
        self.state = state
    }
}

extension BlobRecord: Record {
    static func decode(_ bytes: [UInt8], at key: ObjectKey) throws(RecordFault) -> BlobRecord {
        let isInline = bytes.count >= headerSize
        guard let json = try? JSONValue(parsing: isInline ? Array(bytes.prefix(headerSize)) : bytes) else {
            throw .damaged
        }
        if let format = json["format"]?.integer, format > 1 { throw .newer(format: format) }
        guard let size = json["size"]?.byteCount, let lease = json["lease"]?.integer,
            let state = json["state"]?.string.flatMap(State.init(rawValue:))
        else { throw .damaged }
        let content: Content
        if isInline {
            guard size == bytes.count - headerSize else { throw .damaged }
            content = .inline(Array(bytes.dropFirst(headerSize)))
        } else {
            guard let data = json["data"]?.string.flatMap(DataID.init(parsing:)) else { throw .damaged }
            content = .object(data)
        }
        return BlobRecord(
            content: content, size: size, lease: Lease(lease), state: state, isMended: json["old"]?.integer == 1)
    }

    /// Unknown members of the old record are dropped: a new member needs a new format, since the header has no room for
    /// more.
    func encode(over old: [UInt8]?, at key: ObjectKey) -> [UInt8] {
        var members: JSONObject = [
            "lease": .integer(lease.time), "size": .integer(size), "state": .string(state.rawValue),
        ]
        if isMended { members["old"] = 1 }
        switch content {
        case .object(let data):
            members["data"] = .string(data.text)
            return JSONValue.object(members).canonicalBytes
        case .inline(let content):
            var bytes = JSONValue.object(members).canonicalBytes
            bytes.reserveCapacity(Self.headerSize + content.count)
            bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: Self.headerSize - 1 - bytes.count))
            bytes.append(UInt8(ascii: "\n"))
            bytes.append(contentsOf: content)
            return bytes
        }
    }
}

/// The name of bytes that were written once: 32 random hexadecimal digits, never used again.
struct DataID: Hashable, Sendable {
    let text: String

    static func random() -> DataID {
        var generator = SystemRandomNumberGenerator()
        return DataID(text: (0..<2).map { _ in Self.hexadecimal(generator.next()) }.joined())
    }

    init?(parsing text: String) {
        guard text.utf8.count == 32, text.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else { return nil }
        self.text = text
    }

    private init(text: String) { self.text = text }

    func key() throws(ObjectStoreError) -> ObjectKey { try ObjectKey("data/\(text)") }

    private static func hexadecimal(_ number: UInt64) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: 16 - text.utf8.count) + text
    }
}
