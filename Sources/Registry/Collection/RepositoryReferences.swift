import ObjectStore

/// What a repository's manifests name, themselves included, as it was read at one version of the repository's marker.
struct RepositoryReferences: Hashable, Sendable {
    /// The last component of the marker's key.
    let marker: String
    /// The marker's version before the manifests were read.
    let version: ObjectVersion
    /// As `DigestSet` keeps them, in ascending order, each once.
    let keys: [UInt64]

    init(marker: String, version: ObjectVersion, keys: [UInt64]) {
        self.marker = marker
        self.version = version
        var unique: [UInt64] = []
        unique.reserveCapacity(keys.count)
        for key in keys.sorted() where key != unique.last { unique.append(key) }
        self.keys = unique
    }

    /// In bytes.
    var encodedSize: Int { 8 + marker.utf8.count + version.token.utf8.count + 8 * keys.count }

    /// Length of the marker's name (2), name, length of the version (2), version, number of keys (4), keys (8 each).
    /// Little-endian.
    func encode(into bytes: inout [UInt8]) {
        for text in [marker, version.token] {
            bytes.append(integer: UInt16(truncatingIfNeeded: text.utf8.count))
            bytes.append(contentsOf: text.utf8)
        }
        bytes.append(integer: UInt32(truncatingIfNeeded: keys.count))
        for key in keys { bytes.append(integer: key) }
    }

    /// Reads an entry; nil if there is none.
    init?(from reader: inout ByteReader) {
        guard let marker = reader.integer(UInt16.self).flatMap({ reader.text(Int($0)) }),
            let token = reader.integer(UInt16.self).flatMap({ reader.text(Int($0)) }),
            let count = reader.integer(UInt32.self), let keys = reader.unsignedIntegers(Int(count))
        else { return nil }
        self.marker = marker
        self.version = ObjectVersion(token: token)
        self.keys = keys
    }
}
