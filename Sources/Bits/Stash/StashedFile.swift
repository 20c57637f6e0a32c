package import JSON
import OCI
import ObjectStore
import Records

/// The SHA-1 of a file: what clients call files by.
public struct SHA1: Hashable, Sendable, CustomStringConvertible {
    private let high: UInt64
    private let middle: UInt64
    private let low: UInt32

    /// - Parameter hex: 40 hexadecimal digits.
    /// - Returns: nil for other texts.
    public init?(hex: some StringProtocol) {
        var hex = String(hex)
        let value: SHA1? = hex.withUTF8 { digits in
            guard digits.count == 40, let high = Self.number(digits[0..<16]), let middle = Self.number(digits[16..<32]),
                let low = Self.number(digits[32..<40])
            else { return nil }
            return SHA1(high: high, middle: middle, low: UInt32(truncatingIfNeeded: low))
        }
        guard let value else { return nil }
        self = value
    }

    private init(high: UInt64, middle: UInt64, low: UInt32) {
        self.high = high
        self.middle = middle
        self.low = low
    }

    private static func number(_ digits: Slice<UnsafeBufferPointer<UInt8>>) -> UInt64? {
        var number: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): number = number << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): number = number << 4 | UInt64(digit - UInt8(ascii: "A") + 10)
            default: return nil
            }
        }
        return number
    }

    /// In lower case.
    public var description: String {
        func digits(_ number: UInt64, _ count: Int) -> String {
            let text = String(number, radix: 16)
            return String(repeating: "0", count: count - text.utf8.count) + text
        }
        return digits(high, 16) + digits(middle, 16) + digits(UInt64(low), 8)
    }
}

/// A file of the stash: `bits/resources/<2 hex>/<sha1>.<size>`, so that a listing tells all that a match needs.
struct StashRecord: Hashable, Sendable {
    let sha1: SHA1
    /// In bytes.
    let size: Int64
    /// The blob that holds the file.
    let digest: Digest

    static let folder = "bits/resources/"

    static func key(_ sha1: SHA1, _ size: Int64) throws(BitsError) -> ObjectKey {
        let hex = sha1.description
        return try BitsError.key("\(folder)\(hex.prefix(2))/\(hex).\(size)")
    }

    /// What a key says of its file.
    static func name(of key: ObjectKey) -> (sha1: SHA1, size: Int64)? {
        let parts = key.text.utf8.dropFirst(folder.utf8.count + 3).split(separator: UInt8(ascii: "."))
        guard parts.count == 2, let sha1 = SHA1(hex: Substring(parts[0])), let size = Int64(Substring(parts[1])),
            size >= 0
        else { return nil }
        return (sha1, size)
    }
}

extension StashRecord: JSONRecord {
    static var namesContent: Bool { true }

    init?(_ json: JSONValue, at key: ObjectKey) {
        guard let (sha1, size) = Self.name(of: key),
            let digest = json["digest"]?.string.flatMap({ try? Digest(parsing: $0) })
        else { return nil }
        self.init(sha1: sha1, size: size, digest: digest)
    }

    var json: JSONValue { ["digest": .string(digest.description)] }
}

/// A file that a client names: in a list to match, to merge, or in the answer to what it sent.
public struct StashedFile: Hashable, Sendable {
    public let sha1: SHA1
    /// In bytes.
    public let size: Int64
    /// Its name in the package; empty in a list to match.
    public var name: String
    /// Permission bits.
    public var mode: UInt32

    /// The most files of one list.
    public static let maximumCount = 100_000

    public init(sha1: SHA1, size: Int64, name: String = "", mode: UInt32 = 0o644) {
        self.sha1 = sha1
        self.size = size
        self.name = name
        self.mode = mode
    }

    /// `{"sha1","size","fn","mode"}`; the mode in octal, as text or as a number whose digits are octal.
    package init?(_ json: JSONValue) {
        guard let sha1 = json["sha1"]?.string.flatMap({ SHA1(hex: $0) }),
            let size = json["size"]?.byteCount
        else { return nil }
        let mode: UInt32
        switch json["mode"] {
        case nil, .null?: mode = 0o644
        case .string(let text)?:
            guard let value = UInt32(text, radix: 8) else { return nil }
            mode = value
        case let other?:
            guard let value = other.integer.flatMap({ UInt32(String($0), radix: 8) }) else { return nil }
            mode = value
        }
        self.init(
            sha1: sha1, size: size, name: json["fn"]?.string ?? json["path"]?.string ?? "", mode: mode & 0o1777)
    }

    package var json: JSONValue {
        [
            "sha1": .string(sha1.description), "fn": .string(name), "mode": .string(String(mode, radix: 8)),
            "size": .integer(size),
        ]
    }

    /// The files of a list.
    /// - Throws: `.invalidDocument`.
    package static func list(_ json: JSONValue?) throws(BitsError) -> [StashedFile] {
        guard let array = json?.array else { throw .invalidDocument("the list of files is no JSON array") }
        guard array.count <= maximumCount else {
            throw .invalidDocument("the list has more than \(maximumCount) files")
        }
        var files: [StashedFile] = []
        files.reserveCapacity(array.count)
        for element in array {
            guard let file = StashedFile(element) else {
                throw .invalidDocument("a file of the list has no valid sha1, size or mode")
            }
            files.append(file)
        }
        return files
    }
}
