package import JSON
package import ObjectStore

/// A small fact under a key, read and written whole.
///
/// Several versions of Cistern may work on one store, so a binary meets records that it can't read: they have a newer
/// format, or are damaged. The two are told apart because a damaged record may be repaired by writing over it, while a
/// newer one must stay.
package protocol Record: Sendable {
    /// Whether records of this kind may be the only reference to content: while one of them can't be read, nothing that
    /// it might name is collected.
    static var namesContent: Bool { get }

    /// Decodes a record.
    /// - Parameter key: where the record is stored: for some kinds a part of the fact is in the key only.
    static func decode(_ bytes: [UInt8], at key: ObjectKey) throws(RecordFault) -> Self

    /// The bytes to store.
    /// - Parameter old: the bytes to be replaced; members that a newer version of Cistern wrote there are carried over.
    func encode(over old: [UInt8]?, at key: ObjectKey) -> [UInt8]
}

extension Record {
    package static var namesContent: Bool { false }
}

/// Why a record can't be read.
package enum RecordFault: Error, Hashable, Sendable {
    case damaged
    /// The record has a higher format number than this binary knows; nil: this binary does not know the key.
    case newer(format: Int64?)
}

extension RecordFault: CustomStringConvertible {
    package var description: String {
        switch self {
        case .damaged: "it is damaged"
        case .newer(let format?): "a newer version of Cistern wrote it (format \(format))"
        case .newer(nil): "nothing of that name is known: a newer version of Cistern wrote it"
        }
    }
}

/// A record that is a JSON object.
///
/// Its member `format` is the number of its format; a record without one has format 1. A new member that an old binary
/// may ignore needs no new number: old binaries carry it over when they change the record. Any other change needs a new
/// number; then only records that need the new format are written in it, so that the previous version can go on.
package protocol JSONRecord: Record {
    /// The highest format number that this binary reads.
    static var newestFormat: Int64 { get }

    /// Members of earlier formats that this one has not: they are not carried over.
    static var formerMembers: Set<String> { get }

    /// - Returns: nil if the document is not a record of this kind.
    init?(_ json: JSONValue, at key: ObjectKey)

    var json: JSONValue { get }
}

extension JSONRecord {
    package static var newestFormat: Int64 { 1 }
    package static var formerMembers: Set<String> { [] }

    @inlinable package static func decode(_ bytes: [UInt8], at key: ObjectKey) throws(RecordFault) -> Self {
        guard let json = try? JSONValue(parsing: bytes) else { throw .damaged }
        if let format = json["format"]?.integer, format > newestFormat { throw .newer(format: format) }
        guard let value = Self(json, at: key) else { throw .damaged }
        return value
    }

    @inlinable package func encode(over old: [UInt8]?, at key: ObjectKey) -> [UInt8] {
        let json = json
        guard let old, case .object(var members) = json, let stored = try? JSONValue(parsing: old),
            case .object(let before) = stored
        else { return json.canonicalBytes }
        let left = before.filter { members[$0.key] == nil && !Self.formerMembers.contains($0.key) }
        // `own` is what this binary understands of the stored record. All other members are from a newer version and
        // stay.
        guard !left.isEmpty, case .object(let own)? = Self(stored, at: key)?.json else { return json.canonicalBytes }
        for (name, value) in left where own[name] == nil { members[name] = value }
        return JSONValue.object(members).canonicalBytes
    }
}

/// A record that was read, with the version that a conditional change of it needs.
package struct StoredRecord<Value: Record>: Sendable {
    package let value: Value
    package let version: ObjectVersion
    @usableFromInline let bytes: [UInt8]

    @inlinable init(value: Value, version: ObjectVersion, bytes: [UInt8]) {
        self.value = value
        self.version = version
        self.bytes = bytes
    }
}

/// A record that exists and can't be read.
package struct UnreadableRecord: Error, Hashable, Sendable {
    package let key: ObjectKey
    package let fault: RecordFault
    package let version: ObjectVersion
    /// When the record was written, in nanoseconds since 1970 by the store's clock. It can't name content that is
    /// younger.
    package let modified: Int64
    package let namesContent: Bool

    package init(_ info: ObjectInfo, _ fault: RecordFault, namesContent: Bool) {
        self.namesContent = namesContent
        key = info.key
        version = info.version
        modified = info.modified
        self.fault = fault
    }
}

extension UnreadableRecord: CustomStringConvertible {
    package var description: String { "the record \(key) can't be read: \(fault)" }
}

/// The result of looking for a record under a key.
package enum FoundRecord<Value: Record>: Sendable {
    case missing
    case stored(StoredRecord<Value>)
    case unreadable(UnreadableRecord)

    /// The record; nil if there is none or it can't be read.
    package var readable: StoredRecord<Value>? { if case .stored(let record) = self { record } else { nil } }

    /// Whether there is a record, readable or not.
    package var isThere: Bool { if case .missing = self { false } else { true } }
}

/// When content was last relied on: a collector keeps what has a young lease, whether anything refers to it or not. A
/// lease locks nobody out and need not be given back.
///
/// A writer that is about to rely on content renews the lease first and writes its reference afterwards. A lease that
/// is younger than a quarter of the grace period need not be renewed: the writer has the rest of the period to finish.
package struct Lease: Hashable, Sendable, Comparable {
    /// In nanoseconds since 1970.
    package let time: Int64

    package init(_ time: Int64) { self.time = time }

    package static func < (left: Lease, right: Lease) -> Bool { left.time < right.time }

    package func needsRenewal(at now: Int64, grace: Int64) -> Bool { now - time >= grace / 4 }

    /// The lease renewed at a time. It never gets older, even if the clocks of several writers differ.
    package func renewed(at now: Int64) -> Lease { Lease(max(now, time)) }

    /// Whether the lease has expired.
    /// - Parameter cutoff: the start of a collection minus the grace period and the clock skew.
    package func isOver(before cutoff: Int64) -> Bool { time < cutoff }
}
