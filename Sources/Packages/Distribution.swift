import JSON

/// The distribution of a rootfs, as its os-release names it (os-release(5)).
public struct Distribution: Hashable, Sendable, CustomStringConvertible {
    /// `ID`; if that is missing or no identifier, `linux`, the default of os-release(5).
    public let id: String
    /// `VERSION_ID`; empty if it is missing or no identifier.
    public let version: String

    public init(id: String, version: String) {
        self.id = id
        self.version = version
    }

    /// ID and version in one word, for example `debian-12`.
    public var description: String { version.isEmpty ? id : "\(id)-\(version)" }

    init?(json: JSONValue) {
        guard let id = json["id"]?.string, let version = json["version"]?.string else { return nil }
        self.init(id: id, version: version)
    }

    var json: JSONValue { ["id": .string(id), "version": .string(version)] }

    /// Parses an identifier: `[a-z0-9._-]{1,64}`, in quotes or not; nil for anything else.
    static func identifier(_ value: ArraySlice<UInt8>) -> String? {
        var value = value
        for quote in "\"'".utf8 where value.count >= 2 && value.first == quote && value.last == quote {
            value = value.dropFirst().dropLast()
        }
        let isOne = value.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "._-".utf8.contains(byte)
        }
        guard (1...64).contains(value.count), isOne else { return nil }
        return String(decoding: value, as: UTF8.self)
    }
}
