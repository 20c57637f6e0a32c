import JSON

/// How packages differ between two rootfs versions. Each list is in the order of package lists.
public struct PackageDiff: Hashable, Sendable {
    /// A package that both versions have.
    public struct Change: Hashable, Sendable {
        public let from: InstalledPackage
        public let to: InstalledPackage
    }

    public private(set) var added: [InstalledPackage] = []
    public private(set) var removed: [InstalledPackage] = []
    public private(set) var upgraded: [Change] = []
    public private(set) var downgraded: [Change] = []
    /// Packages whose version is equal in order, but is written differently, or whose architecture has changed.
    public private(set) var changed: [Change] = []
    public private(set) var unchanged = 0
    /// Whether both lists are complete, so that no package is missing here.
    public let isComplete: Bool

    public init(from old: PackageList, to new: PackageList) {
        isComplete = [old, new].allSatisfy { $0.isComplete && $0.skipped == 0 }
        // Packages of different package managers can't be compared, even under the same names.
        guard old.manager == new.manager else {
            added = new.packages
            removed = old.packages
            return
        }
        var left = Dictionary(grouping: old.packages) { ExactText($0.name) }
        var right = Dictionary(grouping: new.packages) { ExactText($0.name) }
        for name in Set(left.keys).union(right.keys) {
            for package in right[name] ?? [] {
                guard let index = left[name]?.firstIndex(where: { $0.architecture == package.architecture }),
                    let former = left[name]?.remove(at: index)
                else { continue }
                right[name]?.removeAll { $0 == package }
                add(former, package, old.manager)
            }
            // If one package is left on each side, it has changed its architecture, to `all` for example.
            if let before = left[name], let after = right[name], before.count == 1, after.count == 1 {
                add(before[0], after[0], old.manager)
            } else {
                removed += left[name] ?? []
                added += right[name] ?? []
            }
        }
        sort()
    }

    private mutating func add(_ from: InstalledPackage, _ to: InstalledPackage, _ manager: PackageList.Manager) {
        let order =
            manager == .apk
            ? PackageVersionOrder.apk(from.version, to.version) : PackageVersionOrder.dpkg(from.version, to.version)
        let change = Change(from: from, to: to)
        if order < 0 {
            upgraded.append(change)
        } else if order > 0 {
            downgraded.append(change)
        } else if from.version != to.version || from.architecture != to.architecture {
            changed.append(change)
        } else {
            unchanged += 1
        }
    }

    private mutating func sort() {
        added.sort(by: InstalledPackage.isOrdered)
        removed.sort(by: InstalledPackage.isOrdered)
        upgraded.sort { InstalledPackage.isOrdered($0.to, $1.to) }
        downgraded.sort { InstalledPackage.isOrdered($0.to, $1.to) }
        changed.sort { InstalledPackage.isOrdered($0.to, $1.to) }
    }
}
