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
