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

/// A file of the stash: `bits/resources/<2 hex>/<sha1>.<size>.<sha256>`, so that a listing tells all there is to know.
struct StashRecord: Hashable, Sendable {
    let sha1: SHA1
    /// In bytes.
    let size: Int64
    /// The blob that holds the file.
    let digest: Digest

    static let folder = "bits/resources/"

    var key: ObjectKey {
        get throws(BitsError) {
            let hex = sha1.description
            return try BitsError.key("\(Self.folder)\(hex.prefix(2))/\(hex).\(size).\(digest.hex)")
        }
    }

    init(sha1: SHA1, size: Int64, digest: Digest) {
        self.sha1 = sha1
        self.size = size
        self.digest = digest
    }

    /// - Returns: nil if a key names no file.
    init?(_ key: ObjectKey) {
        let parts = key.text.utf8.dropFirst(Self.folder.utf8.count + 3).split(separator: UInt8(ascii: "."))
        guard parts.count == 3, let sha1 = SHA1(hex: Substring(parts[0])), let size = Int64(Substring(parts[1])),
            size >= 0, let digest = try? Digest(.sha256, hex: String(Substring(parts[2])))
        else { return nil }
        self.init(sha1: sha1, size: size, digest: digest)
    }
}

extension StashRecord: JSONRecord {
    static var namesContent: Bool { true }

    init?(_ json: JSONValue, at key: ObjectKey) {
        self.init(key)
        guard json.object != nil else { return nil }
    }

    /// The key says all.
    var json: JSONValue { [:] }
}

/// A file that a client names: in a list to match, to merge, or in the answer to what it sent.
public struct StashedFile: Hashable, Sendable {
    public let sha1: SHA1
    /// In bytes; nil in a list to merge that does not say it.
    public let size: Int64?
    /// Its name in the package; empty in a list to match.
    public var name: String
    /// Permission bits.
    public var mode: UInt32

    /// The most files of one list.
    public static let maximumCount = 100_000

    public init(sha1: SHA1, size: Int64?, name: String = "", mode: UInt32 = 0o644) {
        self.sha1 = sha1
        self.size = size
        self.name = name
        self.mode = mode
    }

    /// `{"sha1","size","fn","mode"}`; the mode in octal, as text or as a number whose digits are octal.
    package init?(_ json: JSONValue) {
        guard let sha1 = json["sha1"]?.string.flatMap({ SHA1(hex: $0) }) else { return nil }
        let size = json["size"]?.byteCount
        guard size != nil || json["size"] == nil else { return nil }
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
        var members: JSONObject = [
            "sha1": .string(sha1.description), "fn": .string(name), "mode": .string(String(mode, radix: 8)),
        ]
        if let size { members["size"] = .integer(size) }
        return .object(members)
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
