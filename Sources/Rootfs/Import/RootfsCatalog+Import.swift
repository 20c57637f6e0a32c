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
    /// - Throws: `.invalidName` for a stack called `current`; `.rootfsExists` if the name has other content;
    ///   `.unsuitableRootfs`, `.unsuitableImage`, `.untrusted`, `.rejected`, `.checksumMismatch`, `.input`, `.blob`,
    ///   `.store`, `.cancelled`.
    public func importRootfs<Source: AsyncSequence & Sendable>(
        _ request: RootfsImport, from source: Source, logger: Logger
    ) async throws(ImageError) -> RootfsVersion where Source.Element == [UInt8] {
        // It stands for what is promoted, wherever a name is read. A stack of before that has it is read as ever.
        guard request.stack.text != VersionName.reserved else {
            throw .invalidName(what: "stack", text: request.stack.text)
        }
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

/// Where a rootfs comes from, and who vouches for it.
public struct RootfsSource: Sendable {
    /// What the bytes that come in are.
    public enum Form: String, Sendable, Hashable {
        /// A tar of the files.
        case tar
        /// A tar of an OCI layout.
        case oci
        /// What `docker save` writes.
        case docker
    }

    public var form: Form
    /// Of the image that is wanted: its manifest's, an index's that leads to it, or in a docker-archive its
    /// configuration's; nil: the only one that fits.
    public var digest: Digest?
    /// What the sender calls it: a file's name, or `docker://…` for what came from another registry.
    public var name: String?
    public var signature: DetachedSignature?
    /// Who may have signed it.
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

    /// What a name from another registry begins with.
    public static let registryScheme = "docker://"

    /// - Throws: `.untrusted` if it must be signed and is not.
    func checkIsSigned() throws(ImageError) {
        guard mustBeSigned, signature == nil else { return }
        throw .untrusted("it is not signed (--signature), and here it must be: \(trusted.description)")
    }

    /// What is written down of it.
    func origin(signedBy key: TrustedKey?) -> RootfsOrigin {
        let isRemote = form == .oci && name?.hasPrefix(Self.registryScheme) == true
        return RootfsOrigin(
            kind: isRemote ? .registry : RootfsOrigin.Kind(rawValue: form.rawValue), name: name, signedBy: key?.name)
    }
}

/// A rootfs that was converted and found fit, and is not kept yet.
struct ReceivedRootfs {
    let converted: ConvertedRootfs<BlobWriter>
    /// Of the file; of an image its own.
    let source: Digest
    /// Of the file, in bytes.
    let sourceSize: Int64
    let origin: RootfsOrigin
}

extension RootfsCatalog {
    /// Reads, verifies and converts what is sent. If it fails, nothing stays.
    /// - Throws: `ImageError`, and what `imageError` knows.
    func receive<Source: AsyncSequence & Sendable>(
        _ request: RootfsImport, from source: Source
    ) async throws -> ReceivedRootfs where Source.Element == [UInt8] {
        try request.source.checkIsSigned()
        // Images are signed by their manifests.
        let verifier = request.source.form == .oci ? nil : try await SignatureVerifier(request.source, in: blobs)
        let hashesSHA1 = if case .sha1? = request.checksum { true } else { false }
        // The file itself is not kept, but for what its signature needs.
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

    /// Reads the file to its end, and checks what was promised of it.
    /// - Returns: whose signature the file has.
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
    /// - Throws: `.unsuitableRootfs` with all that is missing.
    fileprivate func check(_ findings: RootfsFindings) throws(ImageError) {
        let missing = missing(in: findings)
        guard missing.isEmpty else { throw .unsuitableRootfs(missing: missing) }
    }
}

extension RootfsImport {
    fileprivate var settings: LayerSettings { LayerSettings(compression: compression, limits: limits) }
}
