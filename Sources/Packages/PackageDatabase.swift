/// Reads the package managers' databases. A stanza that is not valid is skipped and counted; no error ends the reading.
struct PackageDatabase {
    private(set) var packages: [InstalledPackage] = []
    private(set) var skipped = 0
    /// Whether no file was too large to be read, and no package was left out because the list is full.
    private(set) var isComplete = true
    private var seen: Set<[String]> = []
    private var cost = 0

    /// The dpkg states of packages that count as not installed, though the database still has a stanza for them.
    private static let absent = ["not-installed", "config-files", "half-installed"]

    /// Reads `var/lib/dpkg/status`, or one file of `var/lib/dpkg/status.d` (deb-control(5), dpkg-query(1)).
    mutating func add(dpkg bytes: [UInt8]) {
        let fields = ["Package", "Version", "Architecture", "Source", "Status"]
        forEachStanza(bytes, fields) { $0.addDpkg($1) }
    }

    /// Reads `lib/apk/db/installed` (apk-package(5), "installed database").
    mutating func add(apk bytes: [UInt8]) {
        // These fields come before a stanza's first `F:`. The lines after that, often thousands, describe files.
        forEachStanza(bytes, ["P", "V", "A", "L", "o"]) { $0.addAPK($1) }
    }

    /// Records that a file was too large to be read, so that the list is not complete.
    mutating func miss() { isComplete = false }

    private mutating func forEachStanza(
        _ bytes: [UInt8], _ fields: [String], _ body: (inout PackageDatabase, PackageStanza) -> Void
    ) {
        let empty = PackageStanza(fields)
        var stanza = empty
        forEachLine(bytes) { line in
            if line.isEmpty {
                if !stanza.isEmpty { body(&self, stanza) }
                stanza = empty
            } else {
                stanza.add(line)
            }
        }
        if !stanza.isEmpty { body(&self, stanza) }
    }

    private mutating func addDpkg(_ stanza: PackageStanza) {
        if let status = stanza.value("Status")?.split(separator: UInt8(ascii: " ")).last,
            Self.absent.contains(where: { $0.utf8.elementsEqual(status) })
        {
            return
        }
        guard !stanza.isMalformed, let name = stanza.name("Package"), let version = stanza.version("Version"),
            let architecture = stanza.name("Architecture"),
            let source = Self.source(stanza.value("Source"), of: name, version)
        else {
            skipped += 1
            return
        }
        add(
            InstalledPackage(
                name: name, version: version, architecture: architecture, source: source.name,
                sourceVersion: source.version))
    }

    private mutating func addAPK(_ stanza: PackageStanza) {
        guard !stanza.isMalformed, let name = stanza.name("P"), let version = stanza.version("V"),
            let architecture = stanza.name("A")
        else {
            skipped += 1
            return
        }
        add(
            InstalledPackage(
                name: name, version: version, architecture: architecture, source: stanza.name("o") ?? name,
                sourceVersion: "", license: stanza.value("L").flatMap(Self.license) ?? ""))
    }

    /// Adds a package. If name and architecture come twice, the first one counts, and the other is skipped.
    private mutating func add(_ package: InstalledPackage) {
        guard seen.insert([package.name, package.architecture]).inserted else {
            skipped += 1
            return
        }
        guard packages.count < PackageList.maximumPackages, cost + package.cost <= PackageList.maximumBytes else {
            isComplete = false
            return
        }
        cost += package.cost
        packages.append(package)
    }

    /// Parses `Source: glibc` or `Source: glibc (2.36-9)`. The package's own name and version stand for missing ones.
    ///
    /// - Returns: nil if the field is not valid.
    private static func source(
        _ value: ArraySlice<UInt8>?, of name: String, _ version: String
    ) -> (name: String, version: String)? {
        guard let value else { return (name, version) }
        let parts = value.split(separator: UInt8(ascii: " "), maxSplits: 1)
        guard let source = parts.first.flatMap(packageName) else { return nil }
        guard parts.count == 2 else { return (source, version) }
        guard parts[1].first == UInt8(ascii: "("), parts[1].last == UInt8(ascii: ")"),
            let version = packageVersion(parts[1].dropFirst().dropLast())
        else { return nil }
        return (source, version)
    }

    /// A license's text; nil if it is too long, not UTF-8 or has control characters.
    private static func license(_ bytes: ArraySlice<UInt8>) -> String? {
        guard bytes.count <= PackageStanza.maximumLicense, let text = String(validating: bytes, as: UTF8.self),
            text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control })
        else { return nil }
        return text
    }
}
