import Blobs
import Layers
import OCI
import Signatures

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
