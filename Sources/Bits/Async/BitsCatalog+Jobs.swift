import Archive
import Blobs
import JSON
import OCI
package import ObjectStore
import Records
import Runtime

extension BitsCatalog {
    /// Takes the bytes of bits in, for a client that does not wait for the rest. Durable on return.
    /// - Throws: `.empty`, `.tooLarge`, `.checksumMismatch`, `.input`, `.blob`, `.store`, `.cancelled`.
    package func accept<Source: AsyncSequence & Sendable>(
        _ upload: BitsUpload, from source: Source,
        resources: () throws(BitsError) -> [StashedFile]? = { () throws(BitsError) in nil }
    ) async throws(BitsError) -> BitsJob where Source.Element == [UInt8] {
        let reservation = quotas.reservation(for: upload.name.repository, .bits)
        let received = try await receive(upload, from: source, reservation)
        var list: Digest?
        do throws(BitsError) {
            if let files = try resources() {
                let bytes = JSONValue.array(files.map(\.json)).canonicalBytes
                guard bytes.count <= ObjectLimits.smallObject else {
                    throw .invalidDocument("the list of files has more than \(ObjectLimits.smallObject) bytes")
                }
                list = try await BitsError.ofBlobs(await blobs.put(bytes)).digest
            }
            guard list != nil || received.staged.size > 0 else { throw .empty }
        } catch {
            await received.staged.discard()
            throw error
        }
        _ = try await BitsError.ofBlobs(await blobs.publish(received.staged, as: received.digest))
        return try await keep(
            BitsJob(
                id: BitsJob.makeID(now()), kind: upload.name.kind.rawValue, guid: upload.name.guid,
                stack: upload.name.stack, digest: received.digest, sha1: received.sha1, size: received.staged.size,
                by: upload.by, buildpack: upload.buildpack, resources: list, begun: now()))
    }

    /// Notes an outcome that the controller has to be told, durably.
    /// - Parameter kind: in the plural, as in the controller's paths.
    package func accept(
        _ outcome: BitsJob.Outcome, kind: String, guid: String, by user: String
    ) async throws(BitsError) -> BitsJob {
        try await keep(
            BitsJob(
                id: BitsJob.makeID(now()), kind: kind, guid: guid, by: user, begun: now(), outcome: outcome))
    }

    private func keep(_ job: BitsJob) async throws(BitsError) -> BitsJob {
        try await BitsError.ofStore(await OtherContent.announce(in: records.store))
        try await records.write(job, at: try job.key)
        try await records.sync()
        return job
    }

    /// Finishes an upload: looks into the bits and writes their record, unless that was done before. The outcome is
    /// durable on return.
    /// - Throws: what may be better at another time. What never will be is the outcome.
    package func finish(_ job: BitsJob) async throws(BitsError) -> BitsJob {
        guard job.outcome == nil else { return job }
        var job = job
        do throws(BitsError) {
            let record = try await process(job)
            job.outcome = .ready(sha1: record.sha1, sha256: record.digest.hex)
        } catch {
            guard error.isFinal else { throw error }
            job.outcome = .failed("\(error)")
        }
        try await records.write(job, at: try job.key)
        try await records.sync()
        return job
    }

    private func process(_ job: BitsJob) async throws(BitsError) -> BitsRecord {
        guard let name = try job.name, let digest = job.digest else { throw .damaged(try job.key) }
        let reservation = quotas.reservation(for: name.repository, .bits)
        try await BitsError.ofBlobs(await reservation.cover(job.size))
        guard try await BitsError.ofBlobs(await blobs.renew(digest)) != nil else { throw .blob(.missing(digest)) }
        var (sha1, size) = (job.sha1, job.size)
        var final = digest
        var facts: BuildpackFacts?
        if let list = job.resources {
            let merged = try await merge(job, digest, list, reservation)
            _ = try await BitsError.ofBlobs(await blobs.publish(merged.staged, as: merged.digest))
            (final, sha1, size) = (merged.digest, merged.sha1, merged.staged.size)
        } else {
            let reader = try await BitsError.ofBlobs(await blobs.open(digest)).reader
            facts = try await inspect(reader, name.kind, job.buildpack)
        }
        return try await keep(
            BitsRecord(
                name: name, digest: final, sha1: sha1, size: size, uploaded: Timestamp(nanoseconds: now()),
                uploadedBy: job.by, buildpack: facts), reservation)
    }

    private func merge(
        _ job: BitsJob, _ digest: Digest, _ list: Digest, _ reservation: QuotaReservation
    ) async throws(BitsError) -> Received {
        let bytes = try await BitsError.ofBlobs(await blobs.read(list, maximum: ObjectLimits.smallObject))
        let files = try StashedFile.list(try? JSONValue(parsing: bytes))
        let reader = job.size == 0 ? nil : try await BitsError.ofBlobs(await blobs.open(digest)).reader
        return try await merge(reader, files, reservation)
    }

    /// Forgets an upload whose outcome was told, durably.
    package func forget(_ job: BitsJob) async throws(BitsError) {
        try await records.remove(try job.key)
        try await records.sync()
    }

    /// The uploads that are not over, the oldest first.
    /// - Parameters:
    ///   - limit: at most so many.
    ///   - reading: the store to read from; nil: the catalog's own.
    package func jobs(
        limit: Int = .max, in reading: (any ObjectStore)? = nil
    ) async throws(BitsError) -> [BitsJob] {
        let records = records.reading(reading ?? records.store)
        var jobs: [BitsJob] = []
        for key in try await records.list(BitsJob.folder, after: nil, limit: min(limit, Self.maximumJobs)) {
            if let job = try await records.readable(key, as: BitsJob.self)?.value { jobs.append(job) }
        }
        return jobs
    }

    /// How many uploads may be waiting for their outcome to be told.
    package static let maximumJobs = 10_000
}

extension BitsError {
    /// Whether trying again would give the same.
    fileprivate var isFinal: Bool {
        switch self {
        case .archive(let error): error.fault == .invalid || error.fault == .tooLarge
        case .contended, .cancelled, .store, .blob(.store), .blob(.contended), .blob(.uncounted), .input: false
        default: true
        }
    }
}
