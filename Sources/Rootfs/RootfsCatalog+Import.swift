public import Archive
public import Blobs
public import Layers
public import Logging
import OCI
import ObjectStore
import Packages
import Records
import Runtime

/// What comes with a rootfs' bytes.
public struct RootfsImport: Sendable {
    public let stack: StackName
    public let version: VersionName
    public let architecture: Architecture
    /// Of the file that comes in; verified before anything is kept.
    public let checksum: Checksum?
    /// The absolute path of the shell that apps are started with.
    public let shell: String
    public let compression: CompressionFormat
    public let limits: ConversionLimits
    public let by: String
    public let source: RootfsSource

    public init(
        stack: StackName, version: VersionName, architecture: Architecture, checksum: Checksum?, shell: String,
        compression: CompressionFormat, limits: ConversionLimits, by: String, source: RootfsSource = RootfsSource()
    ) {
        self.source = source
        self.stack = stack
        self.version = version
        self.architecture = architecture
        self.checksum = checksum
        self.shell = shell
        self.compression = compression
        self.limits = limits
        self.by = by
    }
}

extension RootfsCatalog {
    /// Takes a rootfs in as one layer: a tar (plain, gzip or zstd), or an image whose layers are flattened. Durable when it
    /// returns; nothing is visible if it fails. Importing the same under the same name again changes nothing.
    /// - Throws: `.rootfsExists` if the name has other content; `.unsuitableRootfs`, `.unsuitableImage`, `.untrusted`,
    ///   `.rejected`, `.checksumMismatch`, `.input`, `.blob`, `.store`, `.cancelled`.
    public func importRootfs<Source: AsyncSequence & Sendable>(
        _ request: RootfsImport, from source: Source, logger: Logger
    ) async throws(ImageError) -> RootfsVersion where Source.Element == [UInt8] {
        let received: ReceivedRootfs
        do { received = try await receive(request, from: source) } catch { throw imageError(error) }
        let converted = received.converted
        do { try await blobs.commit([(converted.layer.stored, converted.layer.digest)]) } catch { throw .blob(error) }
        converted.summary.notes.log(to: logger)
        let packages = PackageList(files: converted.findings.contents)
        packages.log(to: logger, stack: request.stack, version: request.version)
        return try await keep(
            packages,
            RootfsVersion(
                stack: request.stack, version: request.version, architecture: request.architecture,
                layers: [LayerReference(converted.layer)], source: received.source, sourceSize: received.sourceSize,
                uncompressedSize: converted.layer.uncompressedSize,
                created: Timestamp(seconds: converted.summary.newestEntry?.seconds ?? 0), shell: request.shell,
                system: OSRelease(files: converted.findings.contents).prettyName,
                imported: Timestamp(nanoseconds: now()), importedBy: request.by, origin: received.origin))
    }

    /// The package list first: what a crash leaves of it nobody sees.
    private func keep(_ packages: PackageList, _ version: RootfsVersion) async throws(ImageError) -> RootfsVersion {
        try await changes.run(cancelled: .cancelled) { () throws(ImageError) in
            try await keepPackages(packages, of: version)
            return try await keep(version)
        }
    }

    private func keep(_ version: RootfsVersion) async throws(ImageError) -> RootfsVersion {
        let key: ObjectKey
        do { key = try RootfsVersion.key(version.stack, version.version, version.architecture) } catch {
            throw .store(error)
        }
        // A version stays as it is; importing it again mends a record that is damaged.
        let stored = try await records.update(key, as: RootfsVersion.self, replacingDamaged: true) {
            $0 == nil ? .write(version) : .keep
        }
        let kept = stored?.value ?? version
        guard kept.layers == version.layers, kept.source == version.source, kept.shell == version.shell else {
            throw .rootfsExists(version.stack, version.version, version.architecture)
        }
        try await records.sync()
        keepInMemory(kept)
        return kept
    }
}
