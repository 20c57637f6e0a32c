import JSON
import OCI
import ObjectStore
import Records

/// What the store knows of a digest: `blobs/<algorithm>/<2 hex>/<hex>`, changed by compare-and-swap only.
///
/// A record is a JSON document. One that holds its content, which a small blob's does, is that document filled up with
/// spaces to `headerSize` bytes, a line feed the last of them, and the content behind it: so a listing tells what
/// content takes, and such a blob comes and goes with one change.
struct BlobRecord: Hashable, Sendable {
    enum State: String {
        case live, gone
        /// Its bytes are not what the digest says: they are kept, and nobody gets them.
        case quarantined
    }

    /// Where the bytes are.
    enum Content: Hashable, Sendable {
        /// The object under `data/` that holds them.
        case object(DataID)
        /// In the record itself.
        case inline([UInt8])
    }

    /// No record without content is that long.
    static let headerSize = 128
    /// Content that its record holds has at most so many bytes: together they fill a file system's block.
    static let maximumInline = 4096 - headerSize

    var content: Content
    /// In bytes.
    var size: Int64
    var lease: Lease
    var state: State
    /// Whether other bytes were damaged or missing that the digest's record named before.
    var isMended = false

    static func key(_ digest: Digest) throws(BlobError) -> ObjectKey {
        try BlobError.key("blobs/\(digest.algorithm.rawValue)/\(digest.hex.prefix(2))/\(digest.hex)")
    }

    /// The digest whose record is there.
    static func digest(of key: ObjectKey) -> Digest? {
        let parts = key.text.split(separator: "/")
        guard parts.count == 4, let algorithm = DigestAlgorithm(rawValue: String(parts[1])) else { return nil }
        return try? Digest(algorithm, hex: String(parts[3]))
    }

    /// What the content takes that a stored record holds, by the length of the two together.
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

    /// Nothing is carried over: a member that is new needs a new format, since there is no room for more than these.
    func encode(over old: [UInt8]?, at key: ObjectKey) -> [UInt8] {
        var members: [String: JSONValue] = [
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
