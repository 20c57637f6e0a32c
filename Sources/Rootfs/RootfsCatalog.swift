public import Blobs
import OCI
public import ObjectStore
import Packages
import Runtime
import Synchronization

/// The rootfs versions of all stacks, and which one of each is current.
public final class RootfsCatalog: Sendable {
    struct Variant: Hashable {
        let stack: StackName
        let version: VersionName
        let architecture: Architecture
    }

    struct State {
        var variants: [Variant: RootfsVersion] = [:]
        var deltas: [RootfsDelta.Key: RootfsDelta] = [:]
        var forms: [Variant: LayerPlan] = [:]
        var promotions: [StackName: PromotionHistory] = [:]
        /// How often a package list came or went.
        var packageChanges = 0
        var states: [Name: VersionState] = [:]
    }

    /// A version with all its variants.
    struct Name: Hashable {
        let stack: StackName
        let version: VersionName
    }

    let store: any ObjectStore
    let blobs: BlobStore
    let now: @Sendable () -> Int64
    let state = Mutex(State())
    /// A version is not promoted, and no delta of it kept, while it is removed or blocked.
    let changes = Limiter(1)
    /// Two indexes of file trees are memory enough.
    let deltaLimit = Limiter(1)
    /// Package lists that were read of late.
    let packageLists = BoundedCache<RootfsVersion, PackageList>(maximumCost: 16 << 20)
    let packageReading = SingleFlight<RootfsVersion, PackageList?>()

    /// Reads what is there: a few objects for each rootfs version.
    /// - Parameter now: nanoseconds since 1970.
    public init(
        store: any ObjectStore, blobs: BlobStore, now: @escaping @Sendable () -> Int64
    ) async throws(ImageError) {
        self.store = store
        self.blobs = blobs
        self.now = now
        try await forEachObject(in: store, prefix: "rootfs/", where: { !PackageList.isKey($0) }) {
            (object) throws(ImageError) in
            let parts = object.info.key.text.split(separator: "/")
            if parts.count == 3, parts[2] == "current" {
                let stack = try StackName(parts[1])
                let history = try PromotionHistory(parsing: object.bytes, at: object.info.key)
                state.withLock { $0.promotions[stack] = history }
            } else if parts.count == 4, parts[3] == VersionState.name {
                let name = Name(stack: try StackName(parts[1]), version: try VersionName(parts[2]))
                let versionState = try VersionState(parsing: object.bytes, at: object.info.key)
                state.withLock { $0.states[name] = versionState }
            } else if parts.count == 4 {
                keepInMemory(
                    try RootfsVersion(
                        parsing: object.bytes, stack: try StackName(parts[1]), version: try VersionName(parts[2]),
                        architecture: try Architecture(parts[3]), at: object.info.key))
            } else if parts.count == 6, parts[3] == RootfsDelta.folder {
                let key = RootfsDelta.Key(
                    stack: try StackName(parts[1]), from: try VersionName(parts[4]), to: try VersionName(parts[2]),
                    architecture: try Architecture(parts[5]))
                keepInMemory(try RootfsDelta(parsing: object.bytes, key, at: object.info.key))
            } else if parts.count == 5, parts[3] == LayerPlan.folder {
                let variant = Variant(
                    stack: try StackName(parts[1]), version: try VersionName(parts[2]),
                    architecture: try Architecture(parts[4]))
                let form = try LayerPlan(parsing: object.bytes, at: object.info.key)
                state.withLock { $0.forms[variant] = form }
            } else {
                throw .damaged(object.info.key)
            }
        }
    }

    /// All stacks that have a version, sorted.
    public var stacks: [StackName] {
        state.withLock { Set($0.variants.keys.map(\.stack)) }.sorted { $0.text < $1.text }
    }

    /// All variants of a stack's versions, the youngest import first.
    /// - Throws: `.unknownStack`.
    public func versions(_ stack: StackName) throws(ImageError) -> [RootfsVersion] {
        let versions = state.withLock { $0.variants.values.filter { $0.stack == stack } }
        guard !versions.isEmpty else { throw .unknownStack(stack) }
        return versions.sorted {
            ($1.imported, $1.version.text, $1.architecture.rawValue)
                < ($0.imported, $0.version.text, $0.architecture.rawValue)
        }
    }

    /// The promotions of a stack, newest first, or nil if nothing was promoted yet.
    public func history(_ stack: StackName) -> PromotionHistory? { state.withLock { $0.promotions[stack] } }

    /// The promoted version of a stack.
    /// - Throws: `.unknownStack`, `.nothingPromoted`.
    public func current(_ stack: StackName) throws(ImageError) -> VersionName {
        if let history = history(stack) { return history.current }
        _ = try versions(stack)
        throw .nothingPromoted(stack)
    }

    /// - Throws: `.unknownStack`, `.unknownVersion`, `.noVariant`.
    public func version(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture
    ) throws(ImageError) -> RootfsVersion {
        let variant = Variant(stack: stack, version: version, architecture: architecture)
        if let found = state.withLock({ $0.variants[variant] }) { return found }
        guard try versions(stack).contains(where: { $0.version == version }) else {
            throw .unknownVersion(stack, version)
        }
        throw .noVariant(stack, version, architecture)
    }

    func keepInMemory(_ version: RootfsVersion) {
        let variant = Variant(
            stack: version.stack, version: version.version, architecture: version.architecture)
        state.withLock { $0.variants[variant] = version }
    }
}
