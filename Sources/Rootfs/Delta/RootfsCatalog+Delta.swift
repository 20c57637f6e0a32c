public import Archive
import Blobs
public import Layers
import OCI
import ObjectStore
import Records
import Runtime
import Synchronization

/// Which delta to compute, and how.
public struct DeltaRequest: Sendable {
    public let stack: StackName
    public let from: VersionName
    public let to: VersionName
    public let architecture: Architecture
    public let times: DeltaTimes
    public let compression: CompressionFormat
    public let by: String
    /// Counts the memory that is used; nil to not count it.
    public let memory: ArchiveMemory?

    public init(
        stack: StackName, from: VersionName, to: VersionName, architecture: Architecture, times: DeltaTimes,
        compression: CompressionFormat, by: String, memory: ArchiveMemory? = nil
    ) {
        self.memory = memory
        self.stack = stack
        self.from = from
        self.to = to
        self.architecture = architecture
        self.times = times
        self.compression = compression
        self.by = by
    }
}

extension RootfsCatalog {
    /// The paths of the layers between the rootfs and a delta: the droplet's, and those of `LifecycleLayer`.
    static let covered = ["home/vcap", "lifecycle", "usr/bin/dumb-init"]

    /// Computes the layer that turns one version into another, applies it, compares the trees name by name, and keeps
    /// it if there is no difference. Durable on return; an interruption leaves nothing visible. One delta is computed
    /// at a time. An equal delta that is there already is not computed again.
    ///
    /// - Parameter progress: told how many more bytes of layers were read. Altogether it reads the layers of the old
    ///   version once and those of the new one twice.
    /// - Returns: the delta, and whether it is new.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.noVariant`, `.versionBlocked`; `.unsuitableDelta` if no such
    ///   layer exists, or if applying the computed one does not give the new version; `.rejected`, `.blob`, `.store`,
    ///   `.cancelled`.
    public func computeDelta(
        _ request: DeltaRequest, progress: @escaping @Sendable (Int64) -> Void = { _ in }
    ) async throws(ImageError) -> (delta: RootfsDelta, isNew: Bool) {
        let (old, new) = try check(request)
        return try await deltaLimit.run(cancelled: .cancelled) { () throws(ImageError) in
            if let kept = try? delta(request.stack, request.from, request.to, request.architecture),
                kept.times == request.times, kept.layer.compression == request.compression,
                try await isThere(kept)
            {
                return (kept, false)
            }
            let delta: RootfsDelta
            do { delta = try await compute(request, old, new, progress) } catch { throw imageError(error) }
            return (try await keep(delta), true)
        }
    }

    /// Refuses a request that needs no computation to be seen as impossible.
    /// - Returns: the old version and the new one.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.noVariant`, `.versionBlocked`, `.unsuitableDelta`.
    @discardableResult
    public func check(_ request: DeltaRequest) throws(ImageError) -> (old: RootfsVersion, new: RootfsVersion) {
        guard request.from != request.to else {
            throw .unsuitableDelta("a delta leads from one version to another, not from \(request.to) to itself")
        }
        let old = try version(request.stack, request.from, request.architecture)
        let new = try version(request.stack, request.to, request.architecture)
        try requireNotBlocked(request.stack, request.to)
        return (old, new)
    }

    /// - Throws: `.unknownStack`, `.unknownVersion`, `.noVariant`, `.unknownDelta`.
    public func delta(
        _ stack: StackName, _ from: VersionName, _ to: VersionName, _ architecture: Architecture
    ) throws(ImageError) -> RootfsDelta {
        _ = try version(stack, to, architecture)
        let key = RootfsDelta.Key(stack: stack, from: from, to: to, architecture: architecture)
        guard let delta = state.withLock({ $0.deltas[key] }) else { throw .unknownDelta(stack, from: from, to: to) }
        return delta
    }

    /// The deltas that lead to a version, sorted by the version that they start from.
    /// - Throws: `.unknownStack`, `.unknownVersion`.
    public func deltas(_ stack: StackName, to version: VersionName) throws(ImageError) -> [RootfsDelta] {
        guard try versions(stack).contains(where: { $0.version == version }) else {
            throw .unknownVersion(stack, version)
        }
        return allDeltas.filter { $0.stack == stack && $0.to == version }
            .sorted { ($0.from.text, $0.architecture.rawValue) < ($1.from.text, $1.architecture.rawValue) }
    }

    package var allDeltas: [RootfsDelta] { state.withLock { Array($0.deltas.values) } }

    func keepInMemory(_ delta: RootfsDelta) { state.withLock { $0.deltas[delta.key] = delta } }

    private func isThere(_ delta: RootfsDelta) async throws(ImageError) -> Bool {
        do { return try await blobs.find(delta.layer.digest) != nil } catch { throw .blob(error) }
    }

    private func compute(
        _ request: DeltaRequest, _ old: RootfsVersion, _ new: RootfsVersion,
        _ progress: @escaping @Sendable (Int64) -> Void
    ) async throws -> RootfsDelta {
        var settings = DeltaSettings(compression: request.compression, times: request.times, covered: Self.covered)
        // The versions were accepted under the limits of their import, so later limits on size must not refuse them.
        settings.limits.ratio = .max
        settings.limits.inputBytes = .max
        settings.limits.outputBytes = .max
        settings.limits.memory = request.memory
        let oldLayers = old.layers.map { StoredLayer($0, in: blobs, progress: progress) }
        let newLayers = new.layers.map { StoredLayer($0, in: blobs, progress: progress) }
        async let oldTree = FileTree(reading: oldLayers, limits: settings.limits)
        async let newTree = FileTree(reading: newLayers, limits: settings.limits)
        let plan: DeltaPlan
        do {
            plan = try DeltaPlan(from: try await oldTree, to: try await newTree, settings: settings)
        } catch let error as ConversionError where error.fault != .noMemory {
            throw ImageError.unsuitableDelta("no layer turns \(old.version) into \(new.version): \(error)")
        }
        let written = try await plan.write(reading: newLayers, to: BlobLayerSink(blobs: blobs))
        let staged = try await written.layer.stored.finish()
        do {
            let differences = try await plan.differences(
                applying: StoredLayer(staged, diffID: written.layer.diffID))
            guard differences.isEmpty else {
                throw ImageError.unsuitableDelta(
                    "\(old.version) with the delta is not \(new.version), in \(differences.count) names: "
                        + differences.told.joined(separator: "; "))
            }
        } catch {
            await staged.discard()
            throw error
        }
        try await blobs.publish(staged, as: written.layer.digest)
        return RootfsDelta(
            stack: request.stack, from: request.from, to: request.to, architecture: request.architecture,
            layer: LayerReference(written.layer), uncompressedSize: written.layer.uncompressedSize,
            rootfsSize: new.layers.totalSize, changed: written.changed, gone: written.gone,
            times: request.times, computed: Timestamp(nanoseconds: now()), computedBy: request.by)
    }

    /// Stores a delta, unless one of its versions was removed or the new one blocked meanwhile; then its blob is
    /// garbage.
    private func keep(_ delta: RootfsDelta) async throws(ImageError) -> RootfsDelta {
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            _ = try version(delta.stack, delta.from, delta.architecture)
            _ = try version(delta.stack, delta.to, delta.architecture)
            try requireNotBlocked(delta.stack, delta.to)
            let key: ObjectKey
            do throws(ObjectStoreError) { key = try delta.objectKey } catch { throw .store(error) }
            try await records.update(key, as: RootfsDelta.self, replacingDamaged: true) { _ in .write(delta) }
            try await records.sync()
            keepInMemory(delta)
            return delta
        }
    }
}

extension RootfsCatalog {
    /// The layers that images on a version are made of. With a policy the choice is stored before such an image is
    /// served, so that an image on a named version never changes its form, whatever deltas are computed later.
    ///
    /// If the store can't be written at the moment, the form is the version's own layers and is not stored.
    package func form(of version: RootfsVersion, _ policy: DeltaPolicy?) async throws(ImageError) -> LayerPlan {
        if let form = frozenForm(version) { return form }
        let plain = LayerPlan(rootfs: version.layers)
        guard let policy else { return plain }
        let form = smallForm(of: version, policy) ?? plain
        let key: ObjectKey
        do { key = try LayerPlan.key(version) } catch { throw .store(error) }
        do throws(ImageError) {
            // Another process may have stored a form first. A damaged form is replaced: no image was made with it, or
            // its recipe would give the form.
            let stored = try await records.update(key, as: LayerPlan.self, replacingDamaged: true) {
                $0 == nil ? .write(form) : .keep
            }
            try await records.sync()
            let kept = stored?.value ?? form
            remember(kept, version)
            return kept
        } catch {
            switch error {
            case .store(.full), .store(.permission), .store(.io), .store(.unknown): return plain
            default: throw error
            }
        }
    }

    package var allForms: [LayerPlan] { state.withLock { Array($0.forms.values) } }

    /// The layers of the version that was current last, and a delta from it; nil if there is no such delta or the
    /// policy does not allow it.
    private func smallForm(of version: RootfsVersion, _ policy: DeltaPolicy) -> LayerPlan? {
        let promoted = (history(version.stack)?.promotions ?? []).map(\.version)
        // A promoted version is itself in the history, so it is skipped.
        for earlier in promoted where earlier != version.version {
            guard let old = try? self.version(version.stack, earlier, version.architecture) else { continue }
            guard let delta = try? delta(version.stack, earlier, version.version, version.architecture) else {
                return nil
            }
            let below = frozenForm(old) ?? LayerPlan(rootfs: old.layers)
            let form = LayerPlan(rootfs: below.rootfs, delta: below.delta + [delta.layer])
            return policy.allows(form.delta, instead: version.layers) ? form : nil
        }
        return nil
    }

    private func frozenForm(_ version: RootfsVersion) -> LayerPlan? { state.withLock { $0.forms[variant(version)] } }

    private func remember(_ form: LayerPlan, _ version: RootfsVersion) {
        state.withLock { $0.forms[variant(version)] = form }
    }

    private func variant(_ version: RootfsVersion) -> Variant {
        Variant(stack: version.stack, version: version.version, architecture: version.architecture)
    }
}

/// A layer in the store.
struct StoredLayer: LayerSource {
    let diffID: Digest?
    let open: @Sendable () async throws(BlobError) -> any ObjectReader
    let progress: @Sendable (Int64) -> Void

    init(_ layer: LayerReference, in blobs: BlobStore, progress: @escaping @Sendable (Int64) -> Void) {
        diffID = layer.diffID
        self.progress = progress
        open = { () async throws(BlobError) in try await blobs.open(layer.digest).reader }
    }

    init(_ staged: StagedBlob, diffID: Digest?) {
        self.diffID = diffID
        progress = { _ in }
        open = { () async throws(BlobError) in try await staged.open() }
    }

    func bytes() -> Bytes { Bytes(layer: self) }

    struct Bytes: AsyncSequence, Sendable {
        let layer: StoredLayer

        func makeAsyncIterator() -> Iterator { Iterator(layer: layer) }
    }

    /// Opens the layer on the first call of `next` and closes it at the end. A reader that is dropped earlier closes
    /// its file itself.
    struct Iterator: AsyncIteratorProtocol {
        let layer: StoredLayer
        private var reader: (any ObjectReader)?
        private var pieces: ObjectByteStream.Iterator?

        init(layer: StoredLayer) { self.layer = layer }

        mutating func next() async throws -> [UInt8]? {
            try Task.checkCancellation()
            if reader == nil {
                reader = try await layer.open()
                pieces = reader?.bytes.makeAsyncIterator()
            }
            guard let bytes = try await pieces?.next() else {
                await reader?.close()
                return nil
            }
            layer.progress(Int64(bytes.count))
            return bytes
        }
    }
}
