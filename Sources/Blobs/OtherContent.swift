package import ObjectStore
package import Records

/// Tells binaries of before that there is content which they know no owner of.
///
/// A binary that does not know a kind of record does not know its content as referred to, and would collect it. But
/// every binary that was released takes an object below `rootfs/` whose key it does not know for a record of a newer
/// version, and then collects no bytes that are older than this object (`UnreadableRecords.mayNameContentBefore`). So
/// whoever keeps content in records of a kind that such a binary does not know writes this object again each time,
/// after the bytes and before the record. A binary of this version knows the key and passes it over.
package struct OtherContent: Record {
    package static let key = "rootfs/other-content"

    /// Not durable before the store's next `sync()`.
    package static func announce(in store: any ObjectStore) async throws(ObjectStoreError) {
        let key = try ObjectKey(key)
        try await store.put(key, OtherContent().encode(over: nil, at: key), if: .always)
    }

    /// Reads whatever is there: that it is there is all that it says.
    package static func decode(_ bytes: [UInt8], at key: ObjectKey) throws(RecordFault) -> OtherContent {
        OtherContent()
    }

    package func encode(over old: [UInt8]?, at key: ObjectKey) -> [UInt8] { Array(#"{"format":2}"#.utf8) }
}
