public import JSON
import Layers
import Packages

/// A buildpack that a droplet says it was staged with. This is not verified: whoever made the droplet wrote it.
public struct StatedBuildpack: Hashable, Sendable {
    /// `[A-Za-z0-9][A-Za-z0-9+._-]*`, at most 256 bytes.
    public let name: String
    /// Like the name, but `:` and `~` are allowed too; empty if the droplet does not state it.
    public let version: String

    public init(name: String, version: String) {
        self.name = name
        self.version = version
    }

    init?(json: JSONValue) {
        guard let name = json["name"]?.string, let version = json["version"]?.string else { return nil }
        self.init(name: name, version: version)
    }

    public var json: JSONValue { ["name": .string(name), "version": .string(version)] }

    /// How many `deps/<index>` directories are searched.
    private static let maximumIndex = 32
    private static let stagingInfo = "staging_info.yml"

    /// The file in which a buildpack states its name and version.
    private static func config(_ index: Int) -> String { "deps/\(index)/config.yml" }

    static let watch = RootfsWatch(
        files: Dictionary(
            uniqueKeysWithValues: ([stagingInfo] + (0..<maximumIndex).map(config)).map { ($0, 64 << 10) }),
        followsLinks: false)

    /// The buildpacks of `deps/<index>/config.yml`, in the order in which they ran; if there are none, the one that
    /// staging_info.yml names as detected.
    static func all(in findings: RootfsFindings?) -> [StatedBuildpack] {
        guard let findings else { return [] }
        let stated = (0..<maximumIndex).compactMap { index -> StatedBuildpack? in
            guard case .bytes(let bytes)? = findings.files[config(index)] else { return nil }
            return StatedBuildpack(config: bytes)
        }
        guard stated.isEmpty, case .bytes(let bytes)? = findings.files[stagingInfo],
            let detected = (try? JSONValue(parsing: bytes))?["detected_buildpack"]?.string,
            let name = packageName(Array(detected.utf8)[...])
        else { return stated }
        return [StatedBuildpack(name: name, version: "")]
    }

    /// Reads `name: ruby` and `version: 1.10.0` in the file's outermost mapping.
    /// - Returns: nil if there is no valid name.
    private init?(config: [UInt8]) {
        var name: String?
        var version: String?
        forEachLine(config) { line in
            if let value = Self.value("name:", line) { name = name ?? packageName(value) }
            if let value = Self.value("version:", line) { version = version ?? packageVersion(value) }
        }
        guard let name else { return nil }
        self.init(name: name, version: version ?? "")
    }

    private static func value(_ field: String, _ line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard line.starts(with: field.utf8) else { return nil }
        let value = line.dropFirst(field.utf8.count)
        return value.split { " \t\r\"'".utf8.contains($0) }.first
    }
}
