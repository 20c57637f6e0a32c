/// Where things lie in the store's directory:
///
///     lock               held by the owner, whose process it names
///     reserve            space given up when the disk is full
///     tmp/<token>-<n>    files being written; the next start removes those that the journal does not name
///     journal/<frame>    segments of the journal, named by their first frame in 16 hexadecimal digits
///     objects/<key>      each object's bytes and nothing else
enum StorePaths {
    static let lock = "lock"
    static let reserve = "reserve"
    static let temporary = "tmp"
    static let journal = "journal"
    static let objects = "objects"

    static func object(_ key: ObjectKey) -> String { "\(objects)/\(key.text)" }

    static func temporary(_ name: String) -> String { "\(temporary)/\(name)" }

    static func segment(_ firstFrame: UInt64) -> String {
        let digits = String(firstFrame, radix: 16)
        return "\(journal)/" + String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}
