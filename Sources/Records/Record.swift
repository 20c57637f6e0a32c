package import JSON
package import ObjectStore

/// A small fact under a key, read and written whole.
///
/// Several versions of Cistern may work on one store, so a binary meets records that it can't read: of a newer format, or
/// damaged. The two are told apart, for what is damaged may be mended by writing over it, and what is newer is somebody
/// else's and stays.
package protocol Record: Sendable {
    /// Whether records of this kind keep content alive that nothing else may name: while one of them can't be read,
    /// nothing is collected that it might name.
    static var namesContent: Bool { get }

    /// - Parameter key: where the record is: a part of some facts stands there alone.
    static func decode(_ bytes: [UInt8], at key: ObjectKey) throws(RecordFault) -> Self

    /// The bytes to store.
    /// - Parameter old: those that this is to replace; what a newer version of Cistern wrote there stays.
    func encode(over old: [UInt8]?, at key: ObjectKey) -> [UInt8]
}

extension Record {
    package static var namesContent: Bool { false }
}

/// Why a record can't be read.
package enum RecordFault: Error, Hashable, Sendable {
    case damaged
    /// It has a higher format number than this binary knows, or a key that it does not know (nil).
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
/// Its member `format` is the number of its format; a record without one has format 1. A new member that an old binary may
/// ignore needs no new number: old binaries carry it over when they change the record. Anything else does, and then only
/// records that need it are written in the new format, so that the version before can go on.
package protocol JSONRecord: Record {
    /// The highest format number that this binary reads.
    static var newestFormat: Int64 { get }

    /// - Returns: nil if the document is no record of this kind.
    init?(_ json: JSONValue, at key: ObjectKey)

    var json: JSONValue { get }
}

extension JSONRecord {
    package static var newestFormat: Int64 { 1 }

    package static func decode(_ bytes: [UInt8], at key: ObjectKey) throws(RecordFault) -> Self {
        guard let json = try? JSONValue(parsing: bytes) else { throw .damaged }
        if let format = json["format"]?.integer, format > newestFormat { throw .newer(format: format) }
        guard let value = Self(json, at: key) else { throw .damaged }
        return value
    }

    package func encode(over old: [UInt8]?, at key: ObjectKey) -> [UInt8] {
        // What this binary read, as it would have written it (`own`): whatever stands there besides is somebody else's.
        guard let old, let stored = try? JSONValue(parsing: old), case .object(let before) = stored,
            case .object(let own)? = Self(stored, at: key)?.json, case .object(var members) = json
        else { return json.canonicalBytes }
        for (name, value) in before where own[name] == nil && members[name] == nil { members[name] = value }
        return JSONValue.object(members).canonicalBytes
    }
}

/// A record that was read, with the version that a conditional change needs.
package struct StoredRecord<Value: Record>: Sendable {
    package let value: Value
    package let version: ObjectVersion
    let bytes: [UInt8]
}

/// A record that is there and can't be read.
package struct UnreadableRecord: Error, Hashable, Sendable {
    package let key: ObjectKey
    package let fault: RecordFault
    package let version: ObjectVersion
    /// When it was written, by the store's clock, in nanoseconds since 1970: it names nothing that is younger.
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

/// What stands under a record's key.
package enum FoundRecord<Value: Record>: Sendable {
    case missing
    case stored(StoredRecord<Value>)
    case unreadable(UnreadableRecord)

    /// nil if there is none, or none that can be read.
    package var readable: StoredRecord<Value>? { if case .stored(let record) = self { record } else { nil } }

    /// Whether there is anything, readable or not.
    package var isThere: Bool { if case .missing = self { false } else { true } }
}

/// When somebody last relied on something: a collector leaves alone what has a young lease, whether anything refers to it
/// or not. Nobody is locked out by a lease, and nobody has to give one back.
///
/// Who is about to rely on something renews its lease first and writes down what refers to it then. A lease that is younger
/// than a quarter of the grace period need not be renewed: what is written before the rest of the period is over is safe.
package struct Lease: Hashable, Sendable, Comparable {
    /// In nanoseconds since 1970.
    package let time: Int64

    package init(_ time: Int64) { self.time = time }

    package static func < (left: Lease, right: Lease) -> Bool { left.time < right.time }

    package func needsRenewal(at now: Int64, grace: Int64) -> Bool { now - time >= grace / 4 }

    /// Never older than it was, whatever the clocks of several writers say.
    package func renewed(at now: Int64) -> Lease { Lease(max(now, time)) }

    /// Whether it counts for nothing.
    /// - Parameter cutoff: when a collection began, less the grace period and what clocks may differ by.
    package func isOver(before cutoff: Int64) -> Bool { time < cutoff }
}
