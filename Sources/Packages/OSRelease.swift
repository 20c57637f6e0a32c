/// What a rootfs says of itself in its os-release (os-release(5)).
package struct OSRelease {
    /// The first one counts that is there.
    package static let paths = ["etc/os-release", "usr/lib/os-release"]
    /// In bytes.
    package static let maximumSize = 64 << 10

    package let distribution: Distribution
    /// `PRETTY_NAME` without quotes; empty if it is missing.
    package let prettyName: String

    /// - Parameter files: what was read of a rootfs, by path; nil for a file that is too large.
    package init(files: [String: [UInt8]?]) {
        self.init(Self.paths.lazy.compactMap { files[$0] ?? nil }.first { !$0.isEmpty } ?? [])
    }

    /// - Parameter bytes: the file's; anything may stand in it.
    init(_ bytes: [UInt8]) {
        var (id, version, prettyName) = ("linux", "", "")
        forEachLine(bytes) { line in
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { return }
            let value = line[(equals + 1)...]
            // As in a shell, the last one counts.
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
