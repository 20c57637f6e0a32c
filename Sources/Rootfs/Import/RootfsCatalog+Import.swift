public import Archive
public import Blobs
public import Layers
public import Logging
public import OCI
import ObjectStore
import Packages
import Records
import Runtime
public import Signatures

/// What an import states about a rootfs besides its bytes.
public struct RootfsImport: Sendable {
    public let stack: StackName
    public let version: VersionName
    public let architecture: Architecture
    /// Of the imported file; checked before anything is kept. nil: not stated.
    public let checksum: Checksum?
    /// The absolute path of the shell that apps are started with.
    public let shell: String
    public let compression: CompressionFormat
    /// Those given, but xz and bzip2 are taken, too.
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
        var limits = limits
        limits.compressions = .all
        self.limits = limits
        self.by = by
    }
}

extension RootfsCatalog {
    /// Checks that the images of a stack could be pulled, as `cistern/<stack>`: repositories' names have no capitals, and
    /// neither dots nor dashes at their ends. A stack that is there already is taken as it is, since earlier versions did
    /// not ask this, and apps run on it.
    /// - Throws: `.invalidName`.
    public func requirePullable(_ stack: StackName) throws(ImageError) {
        guard (try? RepositoryName(parsing: "cistern/\(stack)")) == nil, !stacks.contains(stack) else { return }
        throw .invalidName(
            what: "name of a new stack: its images are pulled as cistern/<stack>, and a repository's name has small "
                + "letters and digits, with single '.', '_' or dashes between them", text: stack.text)
    }

    /// Imports a rootfs as one layer: a tar (plain, gzip, zstd, xz or bzip2), or an image whose layers are flattened.
    /// Durable on return; if it fails nothing is visible. Importing the same file again under the same name changes nothing.
    /// - Throws: `.invalidName` for a stack called `current`; `.rootfsExists` if the name has other content;
    ///   `.unsuitableRootfs`, `.unsuitableImage`, `.untrusted`, `.rejected`, `.checksumMismatch`, `.input`, `.blob`,
    ///   `.store`, `.cancelled`.
    public func importRootfs<Source: AsyncSequence & Sendable>(
        _ request: RootfsImport, from source: Source, logger: Logger
    ) async throws(ImageError) -> RootfsVersion where Source.Element == [UInt8] {
        let received = try await RootfsReceiver(blobs: blobs).take(request, from: source, logger: logger)
        let packages = PackageList(files: received.converted.findings.contents)
        packages.log(to: logger, stack: request.stack, version: request.version)
        return try await keep(packages, received.version(request, at: Timestamp(nanoseconds: now())))
    }

    /// Stores the package list first, then the version: a list that a crash leaves without its version is not visible.
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
        // A stored version does not change; importing it again replaces a damaged record.
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

/// Where a rootfs comes from, and who signed it.
public struct RootfsSource: Sendable {
    /// The format of the imported file.
    public enum Form: String, Sendable, Hashable {
        /// A tar of the files.
        case tar
        /// A tar of an OCI layout.
        case oci
        /// A tar as `docker save` writes it.
        case docker
    }

    public var form: Form
    /// The digest of the image to import: of its manifest, of an index that leads to it, or in a docker-archive of its
    /// configuration; nil if the archive has only one suitable image.
    public var digest: Digest?
    /// The sender's name for the file, or `docker://…` for an image from another registry.
    public var name: String?
    public var signature: DetachedSignature?
    /// The keys by which it may be signed.
    public var trusted: TrustedKeys
    public var mustBeSigned: Bool

    public init(
        form: Form = .tar, digest: Digest? = nil, name: String? = nil, signature: DetachedSignature? = nil,
        trusted: TrustedKeys = TrustedKeys(), mustBeSigned: Bool = false
    ) {
        self.form = form
        self.digest = digest
        self.name = name
        self.signature = signature
        self.trusted = trusted
        self.mustBeSigned = mustBeSigned
    }

    /// How the name of an image from another registry begins.
    public static let registryScheme = "docker://"

    /// - Throws: `.untrusted` if a signature is required and missing.
    func checkIsSigned() throws(ImageError) {
        guard mustBeSigned, signature == nil else { return }
        throw .untrusted("it is not signed (--signature), and here it must be: \(trusted.description)")
    }

    /// The origin that the version's record states.
    func origin(signedBy key: TrustedKey?) -> RootfsOrigin {
        let isRemote = form == .oci && name?.hasPrefix(Self.registryScheme) == true
        return RootfsOrigin(
            kind: isRemote ? .registry : RootfsOrigin.Kind(rawValue: form.rawValue), name: name, signedBy: key?.name)
    }
}

/// A rootfs that was converted and found suitable, but is not stored yet.
struct ReceivedRootfs {
    let converted: ConvertedRootfs<BlobWriter>
    /// The digest of the file; for an image, the image's own.
    let source: Digest
    /// Of the file, in bytes.
    let sourceSize: Int64
    let origin: RootfsOrigin

    func version(_ request: RootfsImport, at time: Timestamp) -> RootfsVersion {
        RootfsVersion(
            stack: request.stack, version: request.version, architecture: request.architecture,
            layers: [LayerReference(converted.layer)], source: source, sourceSize: sourceSize,
            uncompressedSize: converted.layer.uncompressedSize,
            created: Timestamp(seconds: converted.summary.newestEntry?.seconds ?? 0), shell: request.shell,
            system: OSRelease(files: converted.findings.contents).prettyName, imported: time, importedBy: request.by,
            origin: origin)
    }
}

/// Takes in the files of imports, as one layer each.
struct RootfsReceiver {
    let blobs: BlobStore

    /// Reads, verifies, converts and stores what is sent. If it fails, nothing stays.
    /// - Throws: as `RootfsCatalog.importRootfs`.
    func take<Source: AsyncSequence & Sendable>(
        _ request: RootfsImport, from source: Source, logger: Logger
    ) async throws(ImageError) -> ReceivedRootfs where Source.Element == [UInt8] {
        // `current` stands for the promoted version wherever a name is read. An existing stack of that name is still
        // read.
        guard request.stack.text != VersionName.reserved else {
            throw .invalidName(what: "stack", text: request.stack.text)
        }
        let received: ReceivedRootfs
        do { received = try await receive(request, from: source) } catch { throw imageError(error) }
        let layer = received.converted.layer
        do { try await blobs.commit([(layer.stored, layer.digest)]) } catch { throw .blob(error) }
        received.converted.summary.notes.log(to: logger)
        return received
    }

    private func receive<Source: AsyncSequence & Sendable>(
        _ request: RootfsImport, from source: Source
    ) async throws -> ReceivedRootfs where Source.Element == [UInt8] {
        try request.source.checkIsSigned()
        // The signature of an OCI image is of its manifest and checked later; any other file is verified while it is
        // read.
        let verifier = request.source.form == .oci ? nil : try await SignatureVerifier(request.source, in: blobs)
        let hashesSHA1 = if case .sha1? = request.checksum { true } else { false }
        // The file itself is not kept, except by the verifier if the signature needs it whole.
        let stream = IngestStream(source, into: BlobIngest(into: nil, hashesSHA1: hashesSHA1)) {
            (chunk) throws(BlobError) in try await verifier?.take(chunk)
        }
        do {
            if request.source.form == .tar { return try await receiveTar(request, stream, verifier) }
            return try await receiveImage(request, stream, verifier)
        } catch {
            await verifier?.abort()
            throw error
        }
    }

    private func receiveTar<Source>(
        _ request: RootfsImport, _ stream: IngestStream<Source>, _ verifier: SignatureVerifier?
    ) async throws -> ReceivedRootfs {
        let requirements = RootfsRequirements(shell: request.shell, architecture: request.architecture)
        let converted = try await convertRootfs(
            stream, settings: request.settings, watch: requirements.watch, sink: BlobLayerSink(blobs: blobs))
        do {
            try requirements.check(converted.findings)
            let key = try await finish(stream, request, verifier)
            return ReceivedRootfs(
                converted: converted, source: stream.ingest.digest, sourceSize: stream.ingest.size,
                origin: request.source.origin(signedBy: key))
        } catch {
            await converted.layer.stored.abort()
            throw error
        }
    }

    private func receiveImage<Source>(
        _ request: RootfsImport, _ stream: IngestStream<Source>, _ verifier: SignatureVerifier?
    ) async throws -> ReceivedRootfs {
        let archive = try await ImageArchive(reading: stream, into: blobs, limits: request.limits)
        do {
            let fileKey = try await finish(stream, request, verifier)
            let image = try await self.image(of: archive, request)
            let key = try fileKey ?? signer(of: image, request.source)
            let converted = try await convert(image, request)
            await archive.discard()
            return ReceivedRootfs(
                converted: converted, source: image.digest, sourceSize: stream.ingest.size,
                origin: request.source.origin(signedBy: key))
        } catch {
            await archive.discard()
            throw error
        }
    }

    /// Reads the file to its end, and checks the checksum and the signature.
    /// - Returns: the key that signed the file; nil if the file's own signature is not checked.
    private func finish<Source>(
        _ stream: IngestStream<Source>, _ request: RootfsImport, _ verifier: SignatureVerifier?
    ) async throws -> TrustedKey? {
        try await stream.drain()
        if let checksum = request.checksum { try stream.ingest.check(checksum) }
        return try await verifier?.signer()
    }

    private func image(of archive: ImageArchive, _ request: RootfsImport) async throws -> ArchivedImage {
        switch request.source.form {
        case .docker:
            try await ArchivedImage(
                dockerArchive: archive, architecture: request.architecture, digest: request.source.digest)
        case .oci, .tar:
            try await ArchivedImage(layout: archive, architecture: request.architecture, digest: request.source.digest)
        }
    }

    private func signer(of image: ArchivedImage, _ source: RootfsSource) throws -> TrustedKey? {
        guard let signature = source.signature else { return nil }
        for document in image.signable {
            if let key = try? signature.signer(of: document, among: source.trusted) { return key }
        }
        throw ImageError.untrusted(
            "no trusted key made this signature of the image's manifest: \(source.trusted.description)")
    }

    private func convert(_ image: ArchivedImage, _ request: RootfsImport) async throws -> ConvertedRootfs<BlobWriter> {
        let requirements = RootfsRequirements(shell: request.shell, architecture: request.architecture)
        let converted = try await convertRootfs(
            layers: image.layers, settings: request.settings, watch: requirements.watch,
            sink: BlobLayerSink(blobs: blobs))
        do { try requirements.check(converted.findings) } catch {
            await converted.layer.stored.abort()
            throw error
        }
        return converted
    }
}

extension RootfsRequirements {
    /// - Throws: `.unsuitableRootfs` with everything that is missing.
    fileprivate func check(_ findings: RootfsFindings) throws(ImageError) {
        let missing = missing(in: findings)
        guard missing.isEmpty else { throw .unsuitableRootfs(missing: missing) }
    }
}

extension RootfsImport {
    fileprivate var settings: LayerSettings { LayerSettings(compression: compression, limits: limits) }
}
