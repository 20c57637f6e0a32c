package import Blobs
import ObjectStore
import Records

extension BitsCatalog {
    /// Merges files of the stash into a zip that a client sent, which is discarded, and keeps that one's files in the
    /// stash. The new zip has been checked.
    /// - Parameter staged: may be empty. It stays its caller's if this fails.
    func merge(
        _ staged: StagedBlob, _ files: [StashedFile], _ reservation: QuotaReservation?
    ) async throws(BitsError) -> Received {
        let reader = staged.size == 0 ? nil : try await BitsError.ofBlobs(await staged.open())
        let merged = try await merge(reader, files, reservation)
        await staged.discard()
        return merged
    }

    /// - Parameter reader: closed on return; nil: there is nothing to merge the files into.
    func merge(
        _ reader: (any ObjectReader)?, _ files: [StashedFile], _ reservation: QuotaReservation?
    ) async throws(BitsError) -> Received {
        try await withTaskExecutorPreference(archives) { () throws(BitsError) in
            try await mergeHere(reader, files, reservation)
        }
    }

    private func mergeHere(
        _ reader: (any ObjectReader)?, _ files: [StashedFile], _ reservation: QuotaReservation?
    ) async throws(BitsError) -> Received {
        var merge = try PackageMerge(
            stash: stash, limits: limits,
            into: BlobIngest(
                into: blobs, hashesSHA1: true, reservation: reservation, maximum: limits.bytes, use: .rarely))
        do throws(BitsError) {
            if let reader { try await merge.read(reader) }
            try await merge.add(files)
            await reader?.close()
            guard var written = try await merge.finish() else { throw .empty }
            return Received(
                staged: try await BitsError.ofBlobs(await written.finish()), digest: written.digest,
                sha1: written.sha1 ?? "")
        } catch {
            await reader?.close()
            await merge.abort()
            throw error
        }
    }

    /// Keeps the files of a zip in the stash, durably.
    /// - Returns: all its files, those included that are too small or too large to be kept.
    public func stash<Source: AsyncSequence & Sendable>(
        filesOf source: Source, length: Int64?
    ) async throws(BitsError) -> [StashedFile] where Source.Element == [UInt8] {
        var ingest = BlobIngest(into: blobs, maximum: limits.bytes)
        do throws(IngestError) { try await ingest.append(source, length: length) } catch {
            await ingest.abort()
            throw BitsError(error, maximum: limits.bytes)
        }
        let staged = try await BitsError.ofBlobs(await ingest.finish())
        do throws(BitsError) {
            guard staged.size > 0 else { throw .empty }
            let reader = try await BitsError.ofBlobs(await staged.open())
            let files: [StashedFile]
            do throws(BitsError) {
                files = try await withTaskExecutorPreference(archives) { () throws(BitsError) in
                    var merge = try PackageMerge(stash: stash, limits: limits, into: nil)
                    try await merge.read(reader)
                    return merge.files
                }
            } catch {
                await reader.close()
                throw error
            }
            await reader.close()
            await staged.discard()
            try await BitsError.ofStore(await OtherContent.announce(in: records.store))
            try await records.sync()
            return files
        } catch {
            await staged.discard()
            throw error
        }
    }

    /// A zip of files of the stash, merged into one that a client sent, which is not kept.
    /// - Returns: the zip. Its reader's owner discards it.
    package func bundle<Source: AsyncSequence & Sendable>(
        _ source: Source, length: Int64?, resources: () throws(BitsError) -> [StashedFile]
    ) async throws(BitsError) -> StagedBlob where Source.Element == [UInt8] {
        var ingest = BlobIngest(into: blobs, maximum: limits.bytes)
        do throws(IngestError) { try await ingest.append(source, length: length) } catch {
            await ingest.abort()
            throw BitsError(error, maximum: limits.bytes)
        }
        let staged = try await BitsError.ofBlobs(await ingest.finish())
        do throws(BitsError) { return try await merge(staged, try resources(), nil).staged } catch {
            await staged.discard()
            throw error
        }
    }
}
