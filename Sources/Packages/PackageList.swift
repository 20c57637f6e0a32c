package import JSON

/// The packages that a rootfs has.
public struct PackageList: Hashable, Sendable {
    public enum Manager: String, Sendable {
        case dpkg, apk
        /// The rootfs has no package database.
        case none
    }

    /// How many packages one list may have.
    static let maximumPackages = 50_000
    /// Roughly how many bytes one list's records may have together: a list is a small object of the store.
    static let maximumBytes = 6 << 20

    public let manager: Manager
    public let distribution: Distribution
    /// Sorted by name, architecture and version.
    public let packages: [InstalledPackage]
    /// How many entries of the package database were not valid.
    public let skipped: Int
    /// Whether the databases were read and listed as a whole: false if one was too large for that.
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

    /// Roughly how many bytes the list takes in memory.
    package var cost: Int { packages.reduce(512) { $0 + $1.cost + 256 } }
}

// Reading a list from the files of a rootfs.
extension PackageList {
    private static let dpkgStatus = "var/lib/dpkg/status"
    /// Where images without a package manager list the packages that they are made of, one file each.
    private static let dpkgFolder = "var/lib/dpkg/status.d"
    private static let apk = ["lib/apk/db/installed", "usr/lib/apk/db/installed"]
    /// The largest dpkg status file that is read, in bytes: one with all of Debian's packages for one architecture
    /// fits. The other databases have a smaller bound, since they are read in addition.
    private static let maximumStatus = 64 << 20
    private static let maximumOther = 16 << 20

    /// The files to watch for while a rootfs is converted, with the most bytes that each may have.
    package static let files: [String: Int] = {
        let others = apk.map { ($0, maximumOther) } + OSRelease.paths.map { ($0, OSRelease.maximumSize) }
        return Dictionary(uniqueKeysWithValues: [(dpkgStatus, maximumStatus)] + others)
    }()
    package static let folders = [dpkgFolder: maximumOther]

    /// - Parameter found: the files that were read of a rootfs, by path; nil for a file or a folder that is too large.
    package init(files found: [String: [UInt8]?]) {
        var dpkg = PackageDatabase()
        var apk = PackageDatabase()
        // Only one of apk's two paths is read, since one is often a link to the other.
        let apkPath = Self.apk.first { found.keys.contains($0) }
        // In byte order, so that the same rootfs gives the same list.
        for path in found.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            // `status.d` also has `.md5sums` files, which list checksums of files.
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

// A list as JSON.
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

    package var members: JSONObject {
        [
            "complete": .bool(isComplete), "distribution": distribution.json, "manager": .string(manager.rawValue),
            "packages": .array(packages.map(\.json)), "skipped": .integer(skipped),
        ]
    }
}
