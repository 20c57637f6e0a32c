public import Blobs
import OCI
public import ObjectStore
import Packages
public import Records
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

    package let records: RecordStore<ImageError>
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

    /// Reads what is there: a few objects for each rootfs version. What can't be read is left out; a version whose state is
    /// not known counts as blocked.
    /// - Parameters:
    ///   - unreadable: told of records that can't be read.
    ///   - now: nanoseconds since 1970.
    public init(
        store: any ObjectStore, blobs: BlobStore, unreadable: UnreadableRecords = UnreadableRecords(),
        now: @escaping @Sendable () -> Int64
    ) async throws(ImageError) {
        records = RecordStore(store, unreadable: unreadable)
        self.blobs = blobs
        self.now = now
        try await records.forEach(Self.folder.prefix) { (key) throws(ImageError) in try await load(key) }
    }

    /// Where all of it is, but for the versions' bytes.
    package static let folder = RecordFolder(
        "rootfs/",
        [
            RecordKind("promotions", PromotionHistory.self) { $0.rootfsPlace == .promotions },
            RecordKind("rootfs version", RootfsVersion.self) { $0.rootfsPlace == .version },
            RecordKind("rootfs state", VersionState.self) { $0.rootfsPlace == .state },
            RecordKind("rootfs delta", RootfsDelta.self) { $0.rootfsPlace == .delta },
            RecordKind("layer plan", LayerPlan.self) { $0.rootfsPlace == .plan },
            RecordKind("package list", StoredPackageList.self) { $0.rootfsPlace == .packages },
        ])

    private func load(_ key: ObjectKey) async throws(ImageError) {
        let parts = key.text.split(separator: "/")
        switch key.rootfsPlace {
        case .promotions:
            guard let stack = try? StackName(parts[1]),
                let history = try await records.readable(key, as: PromotionHistory.self)?.value
            else { return }
            state.withLock { $0.promotions[stack] = history }
        case .version:
            if let version = try await records.readable(key, as: RootfsVersion.self)?.value { keepInMemory(version) }
        case .state:
            guard let stack = try? StackName(parts[1]), let version = try? VersionName(parts[2]) else { return }
            let read: VersionState
            switch try await records.find(key, as: VersionState.self) {
            case .missing: return
            case .stored(let stored): read = stored.value
            case .unreadable(let record):
                read = VersionState(
                    availability: .blocked, at: Timestamp(seconds: record.modified / 1_000_000_000), by: "",
                    reason: "what was said of it can't be read: say it again")
            }
            state.withLock { $0.states[Name(stack: stack, version: version)] = read }
        case .delta:
            if let delta = try await records.readable(key, as: RootfsDelta.self)?.value { keepInMemory(delta) }
        case .plan:
            guard let stack = try? StackName(parts[1]), let version = try? VersionName(parts[2]),
                let architecture = try? Architecture(parts[4]),
                let plan = try await records.readable(key, as: LayerPlan.self)?.value
            else { return }
            let variant = Variant(stack: stack, version: version, architecture: architecture)
            state.withLock { $0.forms[variant] = plan }
        // Read when they are asked for.
        case .packages: return
        case nil: _ = try await records.stranger(key)
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

    /// Does something with a version that is not removed meanwhile: what is written down with it never outlives it.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.noVariant`; what the body throws.
    package func holding<Value>(
        _ stack: StackName, _ version: VersionName, _ architecture: Architecture,
        _ body: (RootfsVersion) async throws(ImageError) -> Value
    ) async throws(ImageError) -> Value {
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            try await body(try self.version(stack, version, architecture))
        }
    }

    func keepInMemory(_ version: RootfsVersion) {
        let variant = Variant(
            stack: version.stack, version: version.version, architecture: version.architecture)
        state.withLock { $0.variants[variant] = version }
    }
}

/// What is kept under a key below `rootfs/`.
private enum RootfsPlace {
    case promotions, version, state, delta, plan, packages
}

extension ObjectKey {
    /// nil: nothing that this binary knows.
    fileprivate var rootfsPlace: RootfsPlace? {
        let parts = text.split(separator: "/")
        guard parts.count >= 3, (try? StackName(parts[1])) != nil else { return nil }
        if parts.count == 3 { return parts[2] == "current" ? .promotions : nil }
        guard (try? VersionName(parts[2])) != nil else { return nil }
        switch (parts.count, parts[3]) {
        case (4, Substring(VersionState.name)): return .state
        case (4, _): return (try? Architecture(parts[3])) == nil ? nil : .version
        case (5, Substring(LayerPlan.folder)): return .plan
        case (5, Substring(StoredPackageList.folder)): return .packages
        case (6, Substring(RootfsDelta.folder)): return .delta
        default: return nil
        }
    }
}
