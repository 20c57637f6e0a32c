import JSON
import OCI
import ObjectStore

/// What the store knows of a digest: `blobs/<algorithm>/<2 hex>/<hex>`, changed by compare-and-swap only.
struct BlobRecord: Hashable, Sendable {
    enum State: String {
        case live, gone
        /// Its bytes are not what the digest says: they are kept, and nobody gets them.
        case quarantined
    }

    /// The object under `data/` that holds the bytes.
    var data: DataID
    /// In bytes.
    var size: Int64
    /// When somebody last relied on the blob, in nanoseconds since 1970: the collector leaves younger leases alone.
    var lease: Int64
    var state: State

    static func key(_ digest: Digest) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey("blobs/\(digest.algorithm.rawValue)/\(digest.hex.prefix(2))/\(digest.hex)")
    }

    init(data: DataID, size: Int64, lease: Int64, state: State) {
        self.data = data
        self.size = size
        self.lease = lease
        self.state = state
    }

    init(parsing bytes: [UInt8], of digest: Digest) throws(BlobError) {
        guard let json = try? JSONValue(parsing: bytes), let data = json["data"]?.string.flatMap(DataID.init(parsing:)),
            let size = json["size"]?.integer, size >= 0, let lease = json["lease"]?.integer,
            let state = json["state"]?.string.flatMap(State.init(rawValue:))
        else { throw .damaged(digest) }
        self.init(data: data, size: size, lease: lease, state: state)
    }

    var bytes: [UInt8] {
        let json: JSONValue = [
            "data": .string(data.text), "lease": .integer(lease), "size": .integer(size),
            "state": .string(state.rawValue),
        ]
        return json.canonicalBytes
    }
}
