public import Archive
import Blobs
public import Layers
import OCI
import ObjectStore
import Records
import Runtime
import Synchronization

/// What is asked of a delta.
public struct DeltaRequest: Sendable {
    public let stack: StackName
    public let from: VersionName
    public let to: VersionName
    public let architecture: Architecture
    public let times: DeltaTimes
    public let compression: CompressionFormat
    public let by: String
    /// nil: it is not counted.
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
    /// What the layers between the rootfs and a delta have: the droplet's, and the lifecycle's (`LifecycleLayer`).
    static let covered = ["home/vcap", "lifecycle", "usr/bin/dumb-init"]

    /// Computes the layer that turns one version into another, applies it, compares the trees name by name, and keeps it
    /// if there is no difference. Durable when it returns; interrupted at any time it leaves nothing that can be seen.
    /// One is computed at a time. What is there already is not computed again.
    ///
    /// - Returns: the delta, and whether it is new.
    /// - Throws: `.unknownStack`, `.unknownVersion`, `.noVariant`, `.versionBlocked`; `.unsuitableDelta` if no such layer can be, or the one
    ///   computed does not do what it should; `.rejected`, `.blob`, `.store`, `.cancelled`.
    public func computeDelta(_ request: DeltaRequest) async throws(ImageError) -> (delta: RootfsDelta, isNew: Bool) {
        let (old, new) = try check(request)
        return try await deltaLimit.run(cancelled: .cancelled) { () throws(ImageError) in
            if let kept = try? delta(request.stack, request.from, request.to, request.architecture),
                kept.times == request.times, kept.layer.compression == request.compression,
                try await isThere(kept)
            {
                return (kept, false)
            }
            let delta: RootfsDelta
            do { delta = try await compute(request, old, new) } catch { throw imageError(error) }
            return (try await keep(delta), true)
        }
    }

    /// Refuses what can be seen at once to be no delta.
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

    /// The deltas that lead to a version, by where they begin.
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
        _ request: DeltaRequest, _ old: RootfsVersion, _ new: RootfsVersion
    ) async throws -> RootfsDelta {
        var settings = DeltaSettings(compression: request.compression, times: request.times, covered: Self.covered)
        // They came in under the limits of their time.
        settings.limits.ratio = .max
        settings.limits.inputBytes = .max
        settings.limits.outputBytes = .max
        settings.limits.memory = request.memory
        let (oldLayers, newLayers) = (sources(old), sources(new))
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
            rootfsSize: new.layers.reduce(0) { $0 + $1.size }, changed: written.changed, gone: written.gone,
            times: request.times, computed: Timestamp(nanoseconds: now()), computedBy: request.by)
    }

    private func sources(_ version: RootfsVersion) -> [StoredLayer] {
        version.layers.map { StoredLayer($0, in: blobs) }
    }

    /// Writes a delta down, unless one of its versions was removed meanwhile, or the new one blocked. Then its blob is garbage.
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
