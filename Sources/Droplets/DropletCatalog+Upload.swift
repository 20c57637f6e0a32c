import Archive
public import Blobs
public import Layers
public import Logging
import OCI
import ObjectStore
import Records
public import Rootfs
import Runtime

/// What an upload states about a droplet besides its bytes.
public struct DropletUpload: Sendable {
    public let guid: DropletGUID
    public let stack: StackName
    public let architecture: Architecture
    /// Those of the two that the sender names, and that a droplet which is there already must have.
    public let stated: StatedBase
    /// What the bytes must be; checked before anything is kept. nil: not stated.
    public let checksum: Checksum?
    public let layout: DropletLayout
    public let limits: ConversionLimits
    public let by: String
    /// How many bytes the sender announces, if it does: they are reserved in the quotas before the first is taken.
    public let length: Int64?
    /// The buildpacks that made it, in the order in which they ran; empty: not stated.
    public let staged: [StagedBuildpack]
    public let owner: DropletOwner

    public init(
        guid: DropletGUID, stack: StackName, architecture: Architecture, checksum: Checksum?, layout: DropletLayout,
        limits: ConversionLimits, by: String, length: Int64? = nil, staged: [StagedBuildpack] = [],
        owner: DropletOwner = .unknown, stated: StatedBase? = nil
    ) {
        self.stated = stated ?? StatedBase(stack: stack, architecture: architecture)
        self.staged = staged
        self.owner = owner
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
    /// Takes a droplet in: keeps its bytes, converts them into layers while they arrive, and writes its record. Durable
    /// on return; if it fails nothing is visible. It waits for two flushes: one for all bytes, one for all records.
    /// - Throws: `.otherBase` if the app has the droplet for another stack or architecture than the sender states, and
    ///   `.tooManyDroplets`, both before the bytes are taken if they are announced by a checksum; `.rejected`,
    ///   `.checksumMismatch`, `.aliasTaken`, `.input`, `.blob`, `.store`, `.cancelled`.
    public func upload<Source: AsyncSequence & Sendable>(
        _ upload: DropletUpload, from source: Source, logger: Logger
    ) async throws(ImageError) -> DropletRecord where Source.Element == [UInt8] {
        if let checksum = upload.checksum {
            let known = try await droplets(of: upload.guid)
            let same = known.filter { $0.matches(checksum) }
            if same.isEmpty { try checkCount(known, upload.guid) }
            for record in same { try upload.stated.check(record) }
        }
        let conversion: DropletConversion
        let reservation = quotas.reservation(for: upload.guid.repository, .droplets)
        if case .digest(let digest)? = upload.checksum, let known = try await knownConversion(digest, upload.layout) {
            if try await !has(upload.guid, digest.hex) {
                try await ImageError.ofBlobs(await reservation.cover(known.logicalBytes))
            }
            try await verify(source, against: digest)
            // The upload may have taken so long that the leases are old by now.
            try await renew(known.content)
            conversion = known
        } else {
            conversion = try await conversions.run(cancelled: .cancelled) { () throws(ImageError) in
                try await convert(upload, from: source, reservation, logger: logger)
            }
        }
        let record = try await keep(
            DropletRecord(
                guid: upload.guid, content: conversion.content.made(by: upload.staged), sha1: conversion.sha1,
                size: conversion.size, stack: upload.stack, architecture: upload.architecture, mode: conversion.mode,
                level: conversion.level, uploaded: Timestamp(nanoseconds: now()), uploadedBy: upload.by,
                owner: upload.owner), reservation, upload.stated)
        try await records.sync()
        return record
    }

    /// Gives a droplet to another app as well, without moving a byte. Durable on return.
    /// - Parameters:
    ///   - owner: the other app's.
    ///   - checksum: what the droplet must be.
    ///   - stated: what its stack and architecture must be.
    /// - Throws: `.unknownDroplet`, `.checksumMismatch`, `.aliasTaken`, `.tooManyDroplets`, `.blob`, `.store`;
    ///   `.otherBase` if it is not what is stated, or if the other app has it for another stack or architecture.
    public func copy(
        _ source: DropletGUID, _ hash: DropletHash, to guid: DropletGUID, of owner: DropletOwner, checksum: Checksum,
        by user: String, stated: StatedBase = .nothing
    ) async throws(ImageError) -> DropletRecord {
        let droplet = try await droplet(source, hash)
        try stated.check(droplet)
        let actual: Checksum =
            switch checksum {
            case .digest: .digest(droplet.content.digest)
            case .sha1: .sha1(droplet.sha1)
            }
        guard actual == checksum else {
            throw .checksumMismatch(announced: checksum.description, received: actual.description)
        }
        let reservation = quotas.reservation(for: guid.repository, .droplets)
        if try await !has(guid, droplet.hash) {
            try await ImageError.ofBlobs(await reservation.cover(droplet.logicalBytes))
        }
        try await renew(droplet.content)
        let record = try await keep(
            DropletRecord(
                guid: guid, content: droplet.content, sha1: droplet.sha1, size: droplet.size, stack: droplet.stack,
                architecture: droplet.architecture, mode: droplet.mode, level: droplet.level,
                uploaded: Timestamp(nanoseconds: now()), uploadedBy: user, owner: owner), reservation,
            StatedBase(stack: droplet.stack, architecture: droplet.architecture))
        try await records.sync()
        return record
    }

    /// The conversion of a droplet that was uploaded before, with renewed leases; nil if anything that it names is
    /// missing.
    private func knownConversion(_ digest: Digest, _ layout: DropletLayout) async throws(ImageError)
        -> DropletConversion?
    {
        let key = try DropletConversion.key(digest, layout)
        // A conversion that can't be read counts as missing, so the droplet is converted again.
        guard let conversion = try await records.readable(key, as: DropletConversion.self)?.value else { return nil }
        for digest in [digest] + conversion.content.layers.map(\.digest) {
            guard try await ImageError.ofBlobs(await blobs.renew(digest)) != nil else { return nil }
        }
        return conversion
    }

    private func renew(_ content: DropletContent) async throws(ImageError) {
        for digest in [content.digest] + content.layers.map(\.digest) {
            let blob = try await ImageError.ofBlobs(await blobs.renewIfOld(digest))
            guard blob != nil else { throw .blob(.missing(digest)) }
        }
    }

    private func verify<Source: AsyncSequence & Sendable>(
        _ source: Source, against known: Digest
    ) async throws(ImageError) where Source.Element == [UInt8] {
        let stream = IngestStream(source, into: BlobIngest(into: nil, known.algorithm))
        do throws(IngestError) {
            try await stream.drain()
            try stream.ingest.check(.digest(known))
        } catch { throw ImageError(error) }
    }

    private func convert<Source: AsyncSequence & Sendable>(
        _ upload: DropletUpload, from source: Source, _ reservation: QuotaReservation, logger: Logger
    ) async throws(ImageError) -> DropletConversion where Source.Element == [UInt8] {
        let stream = IngestStream(
            source, into: BlobIngest(into: blobs, hashesSHA1: true, reservation: reservation, use: .rarely))
        var attempt = Attempt(mode: upload.layout.mode)
        var converted: ConvertedDroplet<BlobWriter>?
        var failure = ConversionError(.invalid, "the droplet was not converted")
        do {
            if let length = upload.length { try await stream.ingest.expect(length) }
            do {
                converted = try await convert(upload, attempt, stream, reservation)
            } catch let error as ConversionError where error.isRepairable {
                logger.info("the droplet is converted in another way", metadata: ["reason": "\(error)"])
                failure = error
            }
            try await stream.drain()
            if let checksum = upload.checksum { try stream.ingest.check(checksum) }
        } catch {
            await stream.ingest.abort()
            for layer in converted?.layers ?? [] { await layer.stored.abort() }
            throw imageError(error)
        }
        let digest = stream.ingest.digest
        let layers: ConvertedDroplet<BlobWriter>
        if let converted {
            let writers = converted.layers.map { ($0.stored, $0.digest) }
            try await ImageError.ofBlobs(await blobs.commit([try stream.ingest.written()] + writers))
            layers = converted
        } else {
            layers = try await convertAgain(upload, &attempt, after: failure, stream, reservation)
        }
        layers.summary.notes.log(to: logger)
        return try await keep(
            DropletConversion(
                content: DropletContent(
                    digest: digest, layers: layers.layers.map { LayerReference($0) },
                    newestEntry: Timestamp(seconds: layers.summary.newestEntry?.seconds ?? 0),
                    buildpacks: StatedBuildpack.all(in: layers.findings)),
                sha1: stream.ingest.sha1 ?? "", size: stream.ingest.size, mode: attempt.mode, level: upload.layout.level
            ),
            upload.layout)
    }

    /// How a droplet is converted, once it has turned out how it can be.
    private struct Attempt {
        var mode: LayerMode
        var replaced = ReplacedEntries()
    }

    /// Converts a droplet that was received completely in the way that fits: into a single layer because it can't be
    /// split, or without the entries that later ones replace.
    ///
    /// - Parameters:
    ///   - attempt: how it was tried; receives how it was converted.
    ///   - failure: why that way does not fit.
    private func convertAgain<Source>(
        _ upload: DropletUpload, _ attempt: inout Attempt, after failure: ConversionError,
        _ stream: IngestStream<Source>, _ reservation: QuotaReservation
    ) async throws(ImageError) -> ConvertedDroplet<BlobWriter> {
        do {
            let staged = try await stream.ingest.finish()
            let converted: ConvertedDroplet<BlobWriter>
            do {
                converted = try await convert(staged, upload, &attempt, after: failure, reservation)
                try await blobs.commit(converted.layers.map { ($0.stored, $0.digest) })
            } catch {
                await staged.discard()
                throw error
            }
            try await blobs.publish(staged, as: stream.ingest.digest)
            return converted
        } catch { throw imageError(error) }
    }

    private func convert(
        _ staged: StagedBlob, _ upload: DropletUpload, _ attempt: inout Attempt, after failure: ConversionError,
        _ reservation: QuotaReservation
    ) async throws -> ConvertedDroplet<BlobWriter> {
        var failure = failure
        // Each of the two reasons comes once.
        for _ in 0..<2 {
            // The layers of the attempt before are thrown away, so their part of the reservation is given back.
            reservation.shrink(to: staged.size)
            if failure.fault == .crossesLayers {
                attempt.mode = .single
            } else {
                attempt.replaced = try await reading(staged) {
                    try await ReplacedEntries(in: $0, limits: upload.limits)
                }
            }
            let next = attempt
            do {
                return try await reading(staged) { try await convert(upload, next, $0, reservation) }
            } catch let error as ConversionError where error.isRepairable {
                failure = error
            }
        }
        throw failure
    }

    private func reading<Result>(
        _ staged: StagedBlob, _ body: (ObjectByteStream) async throws -> Result
    ) async throws -> Result {
        let reader = try await staged.open()
        let result: Result
        do { result = try await body(reader.bytes) } catch {
            await reader.close()
            throw error
        }
        await reader.close()
        return result
    }

    private func convert<Input: AsyncSequence & Sendable>(
        _ upload: DropletUpload, _ attempt: Attempt, _ input: Input, _ reservation: QuotaReservation
    ) async throws -> ConvertedDroplet<BlobWriter> where Input.Element == [UInt8] {
        try await convertDroplet(
            input,
            settings: LayerSettings(
                compression: upload.layout.compression, level: upload.layout.level, mode: attempt.mode,
                limits: upload.limits),
            watch: StatedBuildpack.watch, replaced: attempt.replaced,
            sink: BlobLayerSink(blobs: blobs, reservation: reservation))
    }

    /// Writes the record of a conversion. Not durable before `sync()`.
    private func keep(_ conversion: DropletConversion, _ layout: DropletLayout) async throws(ImageError)
        -> DropletConversion
    {
        try await records.write(conversion, at: try DropletConversion.key(conversion.content.digest, layout))
        return conversion
    }
}
