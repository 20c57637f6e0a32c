public import Blobs
import Layers
public import Logging
import OCI
public import ObjectStore
import Packages
public import Records
public import Runtime
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
        var stacks: [StackName: StackKnowledge] = [:]
        /// How often a package list was added or removed.
        var packageChanges = 0
    }

    package let records: RecordStore<ImageError>
    let blobs: BlobStore
    let logger: Logger?
    let events: Events?
    let now: @Sendable () -> Int64
    let state = Mutex(State())
    /// Held by each change of versions, so that none is promoted and no delta kept while one is removed or blocked.
    let changes = Limiter(1)
    /// One delta is computed at a time, because it holds two file trees in memory.
    let deltaLimit = Limiter(1)
    /// Package lists that were read lately.
    let packageLists = BoundedCache<RootfsVersion, PackageList>(maximumCost: 16 << 20)
    let packageReading = SingleFlight<RootfsVersion, PackageList?>()

    /// Reads all records, a few for each rootfs version, and writes nothing. Records that can't be read are left out; a
    /// version whose state can't be read counts as blocked.
    /// - Parameters:
    ///   - unreadable: collects the records that can't be read.
    ///   - logger: logs migrations and losses.
    ///   - events: gets promotions.
    ///   - now: nanoseconds since 1970.
    public init(
        store: any ObjectStore, blobs: BlobStore, unreadable: UnreadableRecords = UnreadableRecords(),
        logger: Logger? = nil, events: Events? = nil, now: @escaping @Sendable () -> Int64
    ) async throws(ImageError) {
        records = RecordStore(store, unreadable: unreadable)
        self.blobs = blobs
        self.logger = logger
        self.events = events
        self.now = now
        try await records.forEach(Self.folder.prefix) { (key) throws(ImageError) in try await load(key) }
        for stack in stacks where state.withLock({ $0.stacks[stack]?.record == nil && $0.stacks[stack]?.lost == nil }) {
            guard let lost = try await setAside(stack) else { continue }
            state.withLock { $0.stacks[stack, default: StackKnowledge()].lost = lost }
        }
    }

    /// All records of rootfs versions; their bytes are blobs.
    package static let folder = RecordFolder(
        "rootfs/",
        [
            RecordKind("stack", StackRecord.self) { $0.rootfsPlace == .stack },
            RecordKind("rootfs version", RootfsVersion.self) { $0.rootfsPlace == .version },
            RecordKind("rootfs state", VersionState.self) { $0.rootfsPlace == .formerState },
            RecordKind("rootfs delta", RootfsDelta.self) { $0.rootfsPlace == .delta },
            RecordKind("layer plan", LayerPlan.self) { $0.rootfsPlace == .plan },
            RecordKind("package list", StoredPackageList.self) { $0.rootfsPlace == .packages },
            RecordKind("mark of other content", OtherContent.self) { $0.rootfsPlace == .others },
        ])

    private func load(_ key: ObjectKey) async throws(ImageError) {
        let parts = key.text.split(separator: "/")
        switch key.rootfsPlace {
        case .stack:
            guard let stack = try? StackName(parts[1]) else { return }
            let found = try await records.find(key, as: StackRecord.self)
            state.withLock { state in
                switch found {
                case .missing: break
                case .stored(let stored): state.stacks[stack, default: StackKnowledge()].record = stored.value
                case .unreadable(let record):
                    state.stacks[stack, default: StackKnowledge()].lost = Timestamp(nanoseconds: record.modified)
                }
            }
        case .version:
            if let version = try await records.readable(key, as: RootfsVersion.self)?.value { keepInMemory(version) }
        case .formerState:
            guard let stack = try? StackName(parts[1]), let version = try? VersionName(parts[2]) else { return }
            let former: StackKnowledge.FormerState
            switch try await records.find(key, as: VersionState.self) {
            case .missing: return
            case .stored(let stored): former = .init(state: stored.value)
            case .unreadable(let record):
                former = .init(
                    state: .unknown(since: Timestamp(nanoseconds: record.modified)), isNewer: record.fault != .damaged)
            }
            state.withLock { $0.stacks[stack, default: StackKnowledge()].former[version] = former }
        case .delta:
            if let delta = try await records.readable(key, as: RootfsDelta.self)?.value { keepInMemory(delta) }
        case .plan:
            guard let stack = try? StackName(parts[1]), let version = try? VersionName(parts[2]),
                let architecture = try? Architecture(parts[4]),
                let plan = try await records.readable(key, as: LayerPlan.self)?.value
            else { return }
            let variant = Variant(stack: stack, version: version, architecture: architecture)
            state.withLock { $0.forms[variant] = plan }
        // Package lists are read on demand.
        case .packages, .others: return
        case nil: _ = try await records.stranger(key)
        }
    }

    /// All stacks that have a version, sorted.
    public var stacks: [StackName] {
        state.withLock { Set($0.variants.keys.map(\.stack)) }.sorted { $0.text < $1.text }
    }

    /// All variants of a stack's versions, the latest import first.
    /// - Throws: `.unknownStack`.
    public func versions(_ stack: StackName) throws(ImageError) -> [RootfsVersion] {
        let versions = state.withLock { $0.variants.values.filter { $0.stack == stack } }
        guard !versions.isEmpty else { throw .unknownStack(stack) }
        return versions.sorted {
            ($1.imported, $1.version.text, $1.architecture.rawValue)
                < ($0.imported, $0.version.text, $0.architecture.rawValue)
        }
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

    /// Calls `body` with a version that can't be removed meanwhile, so that what `body` stores does not outlive the
    /// version.
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

/// The kind of record under a key below `rootfs/`.
private enum RootfsPlace {
    case stack, version, formerState, delta, plan, packages, others
}

extension ObjectKey {
    /// nil if this binary does not know such keys.
    fileprivate var rootfsPlace: RootfsPlace? {
        if text == OtherContent.key { return .others }
        let parts = text.split(separator: "/")
        guard parts.count >= 3, (try? StackName(parts[1])) != nil else { return nil }
        if parts.count == 3 { return parts[2] == "current" ? .stack : nil }
        guard (try? VersionName(parts[2])) != nil else { return nil }
        switch (parts.count, parts[3]) {
        case (4, Substring(VersionState.name)): return .formerState
        case (4, _): return (try? Architecture(parts[3])) == nil ? nil : .version
        case (5, Substring(LayerPlan.folder)): return .plan
        case (5, Substring(StoredPackageList.folder)): return .packages
        case (6, Substring(RootfsDelta.folder)): return .delta
        default: return nil
        }
    }
}

extension RootfsVersion {
    func open(in blobs: BlobStore) async throws(ImageError) -> OpenBlob {
        guard layers.count == 1, let layer = layers.first else { throw .notOneLayer(stack, version) }
        do { return try await blobs.open(layer.digest) } catch { throw .blob(error) }
    }
}

extension RootfsCatalog {
    /// Opens a variant's layer as it is stored: the converted tar, compressed. Importing it again gives the same
    /// diffID.
    /// - Throws: `.notOneLayer`, `.blob`.
    public func open(_ version: RootfsVersion) async throws(ImageError) -> OpenBlob {
        try await version.open(in: blobs)
    }
}

extension RootfsCatalog {
    /// The parts of a version that are removed from memory.
    private struct Removed {
        let variants: [Variant: RootfsVersion]
        let forms: [Variant: LayerPlan]
        let deltas: [RootfsDelta.Key: RootfsDelta]
    }

    /// Removes all variants of a version, durably, with its recipes, its state, and the deltas from it and to it.
    ///
    /// The version is blocked first. If the removal is interrupted the version stays blocked and can be removed again,
    /// and no recipe is left without a version.
    /// - Throws: `.unknownVersion`; `.rootfsInUse` if it is current; `.damaged` if the stack's record can't be read.
    /// - Parameter forgetRecipes: removes the version's recipes, durably.
    package func remove(
        _ stack: StackName, _ version: VersionName, forgetRecipes: () async throws(ImageError) -> Void
    ) async throws(ImageError) {
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            guard try await exists(stack, version) else { throw .unknownVersion(stack, version) }
            try await condemn(stack, version)
            let removed = takeOut(stack, version)
            do throws(ImageError) {
                try await forgetRecipes()
                try await delete(removed, stack, version)
            } catch {
                putBack(removed)
                throw error
            }
        }
    }

    /// Takes a version out of memory, so that nothing is composed on it any more.
    private func takeOut(_ stack: StackName, _ version: VersionName) -> Removed {
        state.withLock { state in
            func isOwn(_ variant: Variant) -> Bool { variant.stack == stack && variant.version == version }
            let removed = Removed(
                variants: state.variants.filter { isOwn($0.key) }, forms: state.forms.filter { isOwn($0.key) },
                deltas: state.deltas.filter { $0.key.stack == stack && [$0.key.from, $0.key.to].contains(version) })
            for variant in removed.variants.keys { state.variants[variant] = nil }
            for variant in removed.forms.keys { state.forms[variant] = nil }
            for delta in removed.deltas.keys { state.deltas[delta] = nil }
            state.packageChanges += 1
            return removed
        }
    }

    private func putBack(_ removed: Removed) {
        state.withLock { state in
            state.variants.merge(removed.variants) { $1 }
            state.forms.merge(removed.forms) { $1 }
            state.deltas.merge(removed.deltas) { $1 }
            state.packageChanges += 1
        }
    }

    /// Whether there is any record of a version, readable or not.
    package func exists(_ stack: StackName, _ version: VersionName) async throws(ImageError) -> Bool {
        let isKnown = state.withLock { state in
            state.variants.keys.contains { $0.stack == stack && $0.version == version }
                || state.stacks[stack]?.record?.states[version] != nil
        }
        if isKnown { return true }
        return try await !records.list(RootfsVersion.folder(stack, version), after: nil, limit: 1).isEmpty
    }

    private func delete(_ removed: Removed, _ stack: StackName, _ version: VersionName) async throws(ImageError) {
        do throws(ObjectStoreError) {
            for delta in removed.deltas.values { try await records.store.delete(try delta.objectKey, ifVersion: nil) }
        } catch { throw .store(error) }
        var keys: [ObjectKey] = []
        try await records.forEach(RootfsVersion.folder(stack, version)) { (key) throws(ImageError) in keys.append(key) }
        for key in keys { try await records.remove(key) }
        // The state is removed last, so that a version which is only partly removed is still blocked.
        try await forgetState(stack, version)
    }
}
