import JSON
public import Layers
import Logging
import OCI
import ObjectStore

/// What packages a rootfs version has: `rootfs/<stack>/<version>/packages/<architecture>`. Written at import; versions
/// that earlier Cisterns imported have none.
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
    var cost: Int { packages.reduce(512) { $0 + $1.cost + 256 } }

    func log(to logger: Logger, stack: StackName, version: VersionName) {
        guard skipped > 0 || !isComplete else { return }
        logger.warning(
            "the package list has gaps",
            metadata: [
                "stack": "\(stack)", "version": "\(version)", "packages": "\(packages.count)",
                "skipped": "\(skipped)", "complete": "\(isComplete)",
            ])
    }
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
    static let files: [String: Int] = {
        let others = apk.map { ($0, maximumOther) } + OSRelease.paths.map { ($0, OSRelease.maximumSize) }
        return Dictionary(uniqueKeysWithValues: [(dpkgStatus, maximumStatus)] + others)
    }()
    static let folders = [dpkgFolder: maximumOther]

    public init(_ findings: RootfsFindings) {
        var dpkg = PackageDatabase()
        var apk = PackageDatabase()
        // One of the two is often a link to the other.
        let apkPath = Self.apk.first { findings.files[$0] != nil }
        // In byte order, so that the same rootfs gives the same list.
        for path in findings.files.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            // Beside them lie files with the checksums of what they have.
            let isDpkg = path.hasPrefix(Self.dpkgStatus) && !path.hasSuffix(".md5sums")
            guard isDpkg || path == apkPath else { continue }
            switch findings.files[path] {
            case .bytes(let bytes)? where isDpkg: dpkg.add(dpkg: bytes)
            case .bytes(let bytes)?: apk.add(apk: bytes)
            case .tooLarge?: if isDpkg { dpkg.miss() } else { apk.miss() }
            case nil: continue
            }
        }
        let isDpkg = !dpkg.packages.isEmpty || dpkg.skipped > 0 || !dpkg.isComplete
        let isAPK = !isDpkg && (!apk.packages.isEmpty || apk.skipped > 0 || !apk.isComplete)
        let database = isDpkg ? dpkg : apk
        self.init(
            manager: isDpkg ? .dpkg : isAPK ? .apk : .none, distribution: OSRelease(findings).distribution,
            packages: database.packages, skipped: database.skipped, isComplete: database.isComplete)
    }
}

// Its record.
extension PackageList {
    /// What no architecture is called.
    private static let folder = "packages"

    static func key(_ version: RootfsVersion) throws(ObjectStoreError) -> ObjectKey {
        try ObjectKey(
            RootfsVersion.folder(version.stack, version.version) + "\(folder)/\(version.architecture.rawValue)")
    }

    static func isKey(_ key: ObjectKey) -> Bool {
        let parts = key.text.split(separator: "/")
        return parts.count == 5 && parts[3] == folder
    }

    /// - Parameter source: of the file that was imported: a list without its version is another file's.
    func bytes(source: Digest) -> [UInt8] {
        let json: JSONValue = [
            "complete": .bool(isComplete), "distribution": distribution.json, "manager": .string(manager.rawValue),
            "packages": .array(packages.map(\.json)), "skipped": .integer(skipped),
            "source": .string(source.description),
        ]
        return json.canonicalBytes
    }

    /// - Returns: the list, and the file that it is of.
    static func parse(_ bytes: [UInt8], at key: ObjectKey) throws(ImageError) -> (list: PackageList, source: Digest) {
        guard let json = try? JSONValue(parsing: bytes), let isComplete = json["complete"]?.bool,
            let distribution = json["distribution"].flatMap(Distribution.init(json:)),
            let manager = json["manager"]?.string.flatMap(Manager.init(rawValue:)),
            let packages = json["packages"]?.elements(InstalledPackage.init(json:)),
            let skipped = json["skipped"]?.integer,
            let source = json["source"]?.string.flatMap({ try? Digest(parsing: $0) })
        else { throw .damaged(key) }
        let list = PackageList(
            manager: manager, distribution: distribution, packages: packages, skipped: Int(skipped),
            isComplete: isComplete)
        return (list, source)
    }
}
