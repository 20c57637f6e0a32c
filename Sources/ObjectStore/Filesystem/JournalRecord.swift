/// One change of the store, as the journal keeps it.
struct JournalRecord: Sendable {
    let key: ObjectKey
    let change: Change

    enum Change: Sendable {
        case put(bytes: [UInt8], modified: Int64)
        /// The file of this name in `tmp` becomes the object.
        case link(name: String, size: Int64, modified: Int64)
        case delete
    }
}

extension JournalRecord.Change {
    /// The object's size and time after the change; nil if the change deletes it.
    var information: FileInformation? {
        switch self {
        case .put(let bytes, let modified): FileInformation(size: Int64(bytes.count), modified: modified)
        case .link(_, let size, let modified): FileInformation(size: size, modified: modified)
        case .delete: nil
        }
    }

    /// Bytes of content that a pending change keeps in memory.
    var weight: Int {
        if case .put(let bytes, _) = self { bytes.count } else { 0 }
    }
}

extension JournalRecord {
    private enum Kind: UInt8 {
        case put = 1
        case link = 2
        case delete = 3
    }

    /// In bytes.
    var encodedSize: Int {
        let header = 3 + key.text.utf8.count
        return switch change {
        case .put(let bytes, _): header + 12 + bytes.count
        case .link(let name, _, _): header + 17 + name.utf8.count
        case .delete: header
        }
    }

    /// Appends the record, little-endian, as (with sizes in bytes) kind (1), length of the key (2), key; put: modified
    /// (8), length (4), bytes; link: modified (8), size (8), length of the name (1), name.
    func encode(into buffer: inout [UInt8]) {
        func header(_ kind: Kind) {
            buffer.append(kind.rawValue)
            buffer.append(integer: UInt16(truncatingIfNeeded: key.text.utf8.count))
            buffer.append(contentsOf: key.text.utf8)
        }
        switch change {
        case .put(let bytes, let modified):
            header(.put)
            buffer.append(integer: modified)
            buffer.append(integer: UInt32(truncatingIfNeeded: bytes.count))
            buffer.append(contentsOf: bytes)
        case .link(let name, let size, let modified):
            header(.link)
            buffer.append(integer: modified)
            buffer.append(integer: size)
            buffer.append(UInt8(truncatingIfNeeded: name.utf8.count))
            buffer.append(contentsOf: name.utf8)
        case .delete:
            header(.delete)
        }
    }

    /// Reads the next record; nil if the bytes hold no valid one.
    init?(from reader: inout ByteReader) {
        guard let kind = reader.integer(UInt8.self).flatMap(Kind.init), let length = reader.integer(UInt16.self),
            let text = reader.text(Int(length)), let key = try? ObjectKey(text)
        else { return nil }
        self.key = key
        switch kind {
        case .put:
            guard let modified = reader.integer(Int64.self), let length = reader.integer(UInt32.self),
                let bytes = reader.bytes(Int(length))
            else { return nil }
            change = .put(bytes: bytes, modified: modified)
        case .link:
            guard let modified = reader.integer(Int64.self), let size = reader.integer(Int64.self),
                let length = reader.integer(UInt8.self), let name = reader.text(Int(length))
            else { return nil }
            change = .link(name: name, size: size, modified: modified)
        case .delete:
            change = .delete
        }
    }
}
