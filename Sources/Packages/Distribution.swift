import JSON
import OCI

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

/// The facts that a rootfs's os-release has about it (os-release(5)).
package struct OSRelease {
    /// The paths of os-release; the first file that has any content counts.
    package static let paths = ["etc/os-release", "usr/lib/os-release"]
    /// How many bytes of os-release are read at most.
    package static let maximumSize = 64 << 10

    package let distribution: Distribution
    /// `PRETTY_NAME` without quotes; empty if it is missing.
    package let prettyName: String

    /// - Parameter files: the files that were read of a rootfs, by path; nil for one that is too large.
    package init(files: [String: [UInt8]?]) {
        self.init(Self.paths.lazy.compactMap { files[$0] ?? nil }.first { !$0.isEmpty } ?? [])
    }

    /// - Parameter bytes: the file's bytes, which may be anything: lines that are not understood are ignored.
    init(_ bytes: [UInt8]) {
        var (id, version, prettyName) = ("linux", "", "")
        forEachLine(bytes) { line in
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { return }
            let value = line[(equals + 1)...]
            // As in a shell, the last assignment of a variable counts.
            switch String(decoding: line[..<equals], as: UTF8.self) {
            case "ID": id = Distribution.identifier(value) ?? "linux"
            case "VERSION_ID": version = Distribution.identifier(value) ?? ""
            case "PRETTY_NAME":
                prettyName = String(decoding: value.filter { !"\"'\r".utf8.contains($0) }, as: UTF8.self)
            default: return
            }
        }
        distribution = Distribution(id: id, version: version)
        self.prettyName = prettyName
    }
}

/// A package's URL (package-url specification), as vulnerability scanners and policy engines know it.
package struct PackageURL {
    package let text: String

    /// - Returns: nil if the rootfs has no package manager.
    package init?(_ package: InstalledPackage, _ manager: PackageList.Manager, of distribution: Distribution) {
        let type: String
        switch manager {
        case .dpkg: type = "deb"
        case .apk: type = "apk"
        case .none: return nil
        }
        text =
            "pkg:\(type)/\(Self.encoded(distribution.id))/\(Self.encoded(package.name))@\(Self.encoded(package.version))"
            + "?arch=\(Self.encoded(package.architecture))&distro=\(Self.encoded(distribution.description))"
    }

    /// The text with everything but unreserved characters and colons percent-encoded.
    private static func encoded(_ text: String) -> String { PercentEncoding.encode(text, allowing: ":") }
}
