package import JSON

/// What packages a rootfs has.
public struct PackageList: Hashable, Sendable {
    public enum Manager: String, Sendable {
        case dpkg, apk
        /// The rootfs has no package database.
        case none
    }

    /// In one list.
    static let maximumPackages = 50_000
    /// Of all packages of one list, roughly as they are written: a list is a small object of the store.
    static let maximumBytes = 6 << 20

    public let manager: Manager
    public let distribution: Distribution
    /// Sorted by name, architecture and version.
    public let packages: [InstalledPackage]
    /// Entries of the package database that make no sense.
    public let skipped: Int
    /// Whether no database was too large to be read or listed as a whole.
    public let isComplete: Bool

    public init(
        manager: Manager, distribution: Distribution, packages: [InstalledPackage], skipped: Int = 0,
        isComplete: Bool = true
    ) {
        self.manager = manager
        self.distribution = distribution
        self.packages = packages.sorted(by: InstalledPackage.isOrdered)
        self.skipped = skipped
        self.isComplete = isComplete
    }

    /// Roughly the bytes it takes in memory.
    package var cost: Int { packages.reduce(512) { $0 + $1.cost + 256 } }
}

// What is read of a rootfs.
extension PackageList {
    private static let dpkgStatus = "var/lib/dpkg/status"
    /// Where images without a package manager say what they are made of.
    private static let dpkgFolder = "var/lib/dpkg/status.d"
    private static let apk = ["lib/apk/db/installed", "usr/lib/apk/db/installed"]
    /// In bytes: Debian's with all that it has in one architecture. The others are read beside it.
    private static let maximumStatus = 64 << 20
    private static let maximumOther = 16 << 20

    /// The files to watch for.
    package static let files: [String: Int] = {
        let others = apk.map { ($0, maximumOther) } + OSRelease.paths.map { ($0, OSRelease.maximumSize) }
        return Dictionary(uniqueKeysWithValues: [(dpkgStatus, maximumStatus)] + others)
    }()
    package static let folders = [dpkgFolder: maximumOther]

    /// - Parameter found: what was read of a rootfs, by path; nil for a file or a folder that is too large.
    package init(files found: [String: [UInt8]?]) {
        var dpkg = PackageDatabase()
        var apk = PackageDatabase()
        // One of the two is often a link to the other.
        let apkPath = Self.apk.first { found.keys.contains($0) }
        // In byte order, so that the same rootfs gives the same list.
        for path in found.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            // Beside them lie files with the checksums of what they have.
            let isDpkg = path.hasPrefix(Self.dpkgStatus) && !path.hasSuffix(".md5sums")
            guard isDpkg || path == apkPath else { continue }
            switch found[path] ?? nil {
            case .some(let bytes) where isDpkg: dpkg.add(dpkg: bytes)
            case .some(let bytes): apk.add(apk: bytes)
            case nil where isDpkg: dpkg.miss()
            case nil: apk.miss()
            }
        }
        let isDpkg = !dpkg.packages.isEmpty || dpkg.skipped > 0 || !dpkg.isComplete
        let isAPK = !isDpkg && (!apk.packages.isEmpty || apk.skipped > 0 || !apk.isComplete)
        let database = isDpkg ? dpkg : apk
        self.init(
            manager: isDpkg ? .dpkg : isAPK ? .apk : .none, distribution: OSRelease(files: found).distribution,
            packages: database.packages, skipped: database.skipped, isComplete: database.isComplete)
    }
}

// As it is written down.
extension PackageList {
    package init?(json: JSONValue) {
        guard let isComplete = json["complete"]?.bool,
            let distribution = json["distribution"].flatMap(Distribution.init(json:)),
            let manager = json["manager"]?.string.flatMap(Manager.init(rawValue:)),
            let packages = json["packages"]?.elements(InstalledPackage.init(json:)),
            let skipped = json["skipped"]?.integer.flatMap({ Int(exactly: $0) })
        else { return nil }
        self.init(
            manager: manager, distribution: distribution, packages: packages, skipped: skipped, isComplete: isComplete)
    }

    package var members: [String: JSONValue] {
        [
            "complete": .bool(isComplete), "distribution": distribution.json, "manager": .string(manager.rawValue),
            "packages": .array(packages.map(\.json)), "skipped": .integer(skipped),
        ]
    }
}
