import Archive
import Blobs
public import Layers
public import Logging
import OCI
import ObjectStore
import Records
public import Rootfs
import Runtime

/// What comes with a droplet's bytes.
public struct DropletUpload: Sendable {
    public let guid: DropletGUID
    public let stack: StackName
    public let architecture: Architecture
    /// Verified before anything is kept.
    public let checksum: Checksum?
    public let layout: DropletLayout
    public let limits: ConversionLimits
    public let by: String
    /// How many bytes the sender says that there are, if it does: room for them is held before they are taken.
    public let length: Int64?

    public init(
        guid: DropletGUID, stack: StackName, architecture: Architecture, checksum: Checksum?, layout: DropletLayout,
        limits: ConversionLimits, by: String, length: Int64? = nil
    ) {
        self.length = length
        self.guid = guid
        self.stack = stack
        self.architecture = architecture
        self.checksum = checksum
        self.layout = layout
        self.limits = limits
        self.by = by
    }
}

extension DropletCatalog {
    /// Takes a droplet in: keeps its bytes, converts them into layers while they arrive, and writes the record down.
    /// Durable when it returns; nothing is visible if it fails. Pays two flush waits: one for all bytes, one for all
    /// records.
    /// - Throws: `.rejected`, `.checksumMismatch`, `.aliasTaken`, `.input`, `.blob`, `.store`, `.cancelled`.
    public func upload<Source: AsyncSequence & Sendable>(
        _ upload: DropletUpload, from source: Source, logger: Logger
    ) async throws(ImageError) -> DropletRecord where Source.Element == [UInt8] {
        let conversion: Conversion
        let room = DropletRoom(quotas.reservation(for: upload.guid.repository, .droplets))
        if case .sha256(let hex)? = upload.checksum, let known = try await knownConversion(hex, upload.layout) {
            if try await !has(upload.guid, hex) { try await room.expect(known) }
            try await verify(source, against: known)
            // It may have come slowly.
            try await renew(known)
            conversion = known
        } else {
            conversion = try await conversions.run(cancelled: .cancelled) { () throws(ImageError) in
                try await convert(upload, from: source, room, logger: logger)
            }
        }
        let record = try await keep(
            DropletRecord(
                guid: upload.guid, content: conversion.content, sha1: conversion.sha1, size: conversion.size,
                stack: upload.stack, architecture: upload.architecture, mode: conversion.mode,
                uploaded: Timestamp(nanoseconds: now()), uploadedBy: upload.by), room)
        try await records.sync()
        return record
    }

    /// The conversion of a droplet that was uploaded before, if everything it names is still there.
    private func knownConversion(_ sha256: String, _ layout: DropletLayout) async throws(ImageError) -> Conversion? {
        guard let digest = try? Digest(.sha256, hex: sha256) else { return nil }
        let key: ObjectKey
        do { key = try Conversion.key(digest, layout) } catch { throw .store(error) }
        // One that can't be read is made again.
        guard let conversion = try await records.readable(key, as: Conversion.self)?.value else { return nil }
        do {
            for digest in [digest] + conversion.content.layers.map(\.digest) {
                guard try await blobs.renew(digest) != nil else { return nil }
            }
        } catch { throw .blob(error) }
        return conversion
    }

    private func renew(_ conversion: Conversion) async throws(ImageError) {
        for digest in [conversion.content.digest] + conversion.content.layers.map(\.digest) {
            let isThere: Bool
            do { isThere = try await blobs.renewIfOld(digest) != nil } catch { throw .blob(error) }
            guard isThere else { throw .blob(.missing(digest)) }
        }
    }

    private func verify<Source: AsyncSequence & Sendable>(
        _ source: Source, against known: Conversion
    ) async throws(ImageError) where Source.Element == [UInt8] {
        let stream = HashingStream(source)
        try await stream.drain()
        try Checksum.sha256(known.content.digest.hex).check(sha256: stream.digest.hex, sha1: stream.sha1Hex)
    }

    private func convert<Source: AsyncSequence & Sendable>(
        _ upload: DropletUpload, from source: Source, _ room: DropletRoom, logger: Logger
    ) async throws(ImageError) -> Conversion where Source.Element == [UInt8] {
        let original: BlobWriter
        do {
            if let length = upload.length { try await room.expect(original: length) }
            original = blobs.begin(use: .rarely)
        } catch { throw .blob(error) }
        let stream = HashingStream(source) { bytes in
            try await room.add(original: bytes.count)
            try await original.write(bytes)
        }
        var mode = upload.layout.mode
        var converted: ConvertedDroplet<BlobWriter>?
        do {
            if let length = upload.length { try await original.expect(length) }
            do {
                converted = try await convert(upload, mode: mode, stream, room)
            } catch let error as ConversionError where error.fault == .crossesLayers {
                logger.info("the droplet can't be split: one layer instead", metadata: ["reason": "\(error)"])
                mode = .single
            }
            try await stream.drain()
            try upload.checksum?.check(sha256: stream.digest.hex, sha1: stream.sha1Hex)
        } catch {
            await original.abort()
            for layer in converted?.layers ?? [] { await layer.stored.abort() }
            throw imageError(error)
        }
        let layers: ConvertedDroplet<BlobWriter>
        if let converted {
            let writers = converted.layers.map { ($0.stored, $0.digest) }
            do { try await blobs.commit([(original, stream.digest)] + writers) } catch { throw .blob(error) }
            layers = converted
        } else {
            layers = try await convertAgain(upload, original: original, digest: stream.digest, room)
        }
        layers.summary.notes.log(to: logger)
        return try await keep(
            Conversion(
                content: DropletContent(
                    digest: stream.digest, layers: layers.layers.map { LayerReference($0) },
                    newestEntry: Timestamp(seconds: layers.summary.newestEntry?.seconds ?? 0),
                    buildpacks: StatedBuildpack.all(in: layers.findings)),
                sha1: stream.sha1Hex, size: stream.size, mode: mode),
            upload.layout)
    }

    /// Converts a droplet that is already here into one layer.
    private func convertAgain(
        _ upload: DropletUpload, original: BlobWriter, digest: Digest, _ room: DropletRoom
    ) async throws(ImageError) -> ConvertedDroplet<BlobWriter> {
        room.restartLayers()
        do {
            let staged = try await original.finish()
            let converted: ConvertedDroplet<BlobWriter>
            do {
                let reader = try await staged.open()
                converted = try await convert(upload, mode: .single, reader.bytes, room)
                await reader.close()
                try await blobs.commit(converted.layers.map { ($0.stored, $0.digest) })
            } catch {
                await staged.discard()
                throw error
            }
            try await blobs.publish(staged, as: digest)
            return converted
        } catch { throw imageError(error) }
    }

    private func convert<Input: AsyncSequence & Sendable>(
        _ upload: DropletUpload, mode: LayerMode, _ input: Input, _ room: DropletRoom
    ) async throws -> ConvertedDroplet<BlobWriter> where Input.Element == [UInt8] {
        try await convertDroplet(
            input, settings: LayerSettings(compression: upload.layout.compression, mode: mode, limits: upload.limits),
            watch: StatedBuildpack.watch, sink: BlobLayerSink(blobs: blobs) { try await room.add(layer: $0) })
    }

    /// Writes a conversion down unless there is one. Not durable before `sync()`.
    private func keep(_ conversion: Conversion, _ layout: DropletLayout) async throws(ImageError) -> Conversion {
        let key: ObjectKey
        do { key = try Conversion.key(conversion.content.digest, layout) } catch { throw .store(error) }
        try await records.write(conversion, at: key)
        return conversion
    }
}
