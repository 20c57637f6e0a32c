import Archive
import Blobs
import Foundation
import Layers
import OCI
import ObjectStore
import Records

/// Goes through the zip that a client sent: keeps its files in the stash, and writes its entries, and files of the stash
/// after them, into a new zip. Contents are stored, not compressed: they are read once more, by the staging job next
/// door, and compressing them again would take longer than all the rest.
struct PackageMerge: ~Copyable {
    /// How much output is gathered before it is written, in bytes.
    private static let portion = 1 << 20
    /// How many files of the stash are read at the same time.
    private static let width = 32

    private let stash: Stash
    private let limits: BitsLimits
    /// nil if no zip is written.
    private var ingest: BlobIngest?
    private var writer: ZipWriter
    private var output: [UInt8] = []
    private var names = ZipNames()
    private var total: Int64 = 0
    private(set) var files: [StashedFile] = []

    /// - Parameter ingest: takes the new zip; nil: none is written.
    init(stash: Stash, limits: BitsLimits, into ingest: BlobIngest?) throws(BitsError) {
        self.stash = stash
        self.limits = limits
        self.ingest = ingest
        do { writer = try ZipWriter() } catch { throw .archive(error) }
    }

    /// Goes through a zip.
    mutating func read(_ reader: any ObjectReader) async throws(BitsError) {
        let file = try await ZipDescriptor(reader)
        let share = ArchiveMemory.Share(of: limits.memory)
        do {
            var zip = try ZipReader(descriptor: file.descriptor, limits: limits.zip, reserve: share.reservation())
            while let entry = try zip.next() {
                if Task.isCancelled { throw BitsError.cancelled }
                try names.take(entry)
                if ingest != nil { try writer.begin(entry, method: .stored, into: &output) }
                if entry.kind == .file { try await take(entry, of: &zip) }
                if ingest != nil { try writer.end(into: &output) }
                try await flush()
            }
        } catch let error as ArchiveError { throw .archive(error) } catch let error as BitsError { throw error } catch {
            throw .input(error)
        }
    }

    /// Takes a file's content: into the new zip, and into the stash.
    private mutating func take(_ entry: ZipEntry, of zip: inout ZipReader) async throws {
        let isKept = stash.rules.sizes.contains(entry.size)
        let isSmall = entry.size <= Stash.small
        var whole: [UInt8] = []
        var large = BlobIngest(into: isKept && !isSmall ? stash.blobs : nil, hashesSHA1: true, use: .rarely)
        do {
            var block: [UInt8] = []
            while try zip.withContent({ block = Array($0) }) != nil {
                if isSmall { whole += block } else { try await large.append(block) }
                if ingest != nil { try Self.write(block, to: &writer, into: &output) }
                try await flush()
            }
            var hasher = SHA1Hasher()
            if isSmall { whole.withUnsafeBytes { hasher.update($0) } }
            guard let sha1 = SHA1(hex: isSmall ? hasher.finish() : large.sha1 ?? "") else { return }
            files.append(
                StashedFile(
                    sha1: sha1, size: entry.size, name: String(decoding: entry.name, as: UTF8.self), mode: entry.mode))
            guard isKept else { return }
            if isSmall {
                try await stash.add(whole, sha1)
            } else if try await stash.isMissing(sha1, entry.size) {
                let blob = try await large.commit(as: large.digest)
                try await stash.keep(StashRecord(sha1: sha1, size: blob.size, digest: blob.digest))
            } else {
                await large.abort()
            }
        } catch {
            await large.abort()
            throw (error as? IngestError).map { BitsError($0, maximum: limits.bytes) } ?? error
        }
    }

    /// Adds files of the stash.
    mutating func add(_ wanted: [StashedFile]) async throws(BitsError) {
        let now = Int64(Date.now.timeIntervalSince1970)
        for start in stride(from: 0, to: wanted.count, by: Self.width) {
            if Task.isCancelled { throw .cancelled }
            let batch = wanted[start..<min(start + Self.width, wanted.count)]
            var found: [(file: StashedFile, record: StashRecord)] = []
            for file in batch {
                let record = try await stash.find(file)
                let (sum, isTooLarge) = total.addingReportingOverflow(record.size)
                guard !isTooLarge, sum <= limits.zip.bytes else { throw .tooLarge(maximum: limits.zip.bytes) }
                total = sum
                found.append((file, record))
            }
            let contents = try await Self.contents(of: found.map(\.record), in: stash.blobs)
            for (item, content) in zip(found, contents) {
                let entry = ZipEntry(
                    kind: .file, name: Array(item.file.name.utf8), mode: item.file.mode,
                    modified: .init(seconds: now), size: item.record.size)
                do throws(ArchiveError) {
                    try names.take(entry)
                    try writer.begin(entry, method: .stored, into: &output)
                } catch { throw .archive(error) }
                try await write(content, item.record)
                do throws(ArchiveError) { try writer.end(into: &output) } catch { throw .archive(error) }
                try await flush()
            }
        }
    }

    /// The contents of small files, read at the same time; nil for others.
    private static func contents(
        of records: [StashRecord], in blobs: BlobStore
    ) async throws(BitsError) -> [[UInt8]?] {
        let read = await withTaskGroup(of: Read.self) { group in
            for (index, record) in records.enumerated() where record.size <= Stash.small {
                group.addTask {
                    do throws(BlobError) {
                        let bytes = try await blobs.read(record.digest, maximum: Int(Stash.small))
                        return Read(index: index, bytes: bytes, failure: nil)
                    } catch { return Read(index: index, bytes: [], failure: error) }
                }
            }
            var read: [Int: Read] = [:]
            for await one in group { read[one.index] = one }
            return read
        }
        if let failure = read.values.lazy.compactMap(\.failure).first { throw .blob(failure) }
        return records.indices.map { read[$0]?.bytes }
    }

    /// A file that was read, or not. (A pair with a `Result` of an optional crashes in a release build.)
    private struct Read: Sendable {
        let index: Int
        let bytes: [UInt8]
        let failure: BlobError?
    }

    /// - Parameter content: nil to read the file piece by piece.
    private mutating func write(_ content: [UInt8]?, _ record: StashRecord) async throws(BitsError) {
        do {
            if let content {
                try Self.write(content, to: &writer, into: &output)
                return
            }
            let reader = try await stash.blobs.open(record.digest).reader
            do {
                let pieces = reader.bytes.makeAsyncIterator()
                while let bytes = try await pieces.next() {
                    try Self.write(bytes, to: &writer, into: &output)
                    try await flush()
                }
            } catch {
                await reader.close()
                throw error
            }
            await reader.close()
        } catch let error as ArchiveError { throw .archive(error) } catch let error as BlobError {
            throw .blob(error)
        } catch let error as BitsError { throw error } catch let error as ObjectStoreError {
            throw .store(error)
        } catch { throw .input(error) }
    }

    private static func write(
        _ content: [UInt8], to writer: inout ZipWriter, into bytes: inout [UInt8]
    ) throws(ArchiveError) {
        let result: Result<Void, ArchiveError> = content.withUnsafeBytes { content in
            do throws(ArchiveError) { return .success(try writer.write(content, into: &bytes)) } catch {
                return .failure(error)
            }
        }
        try result.get()
    }

    private mutating func flush(isLast: Bool = false) async throws(BitsError) {
        guard output.count >= Self.portion || isLast else { return }
        do throws(IngestError) { try await ingest?.append(output) } catch {
            throw BitsError(error, maximum: limits.bytes)
        }
        output.removeAll(keepingCapacity: true)
    }

    func abort() async { await ingest?.abort() }

    /// Ends the new zip.
    /// - Returns: what took it, with all its bytes.
    mutating func finish() async throws(BitsError) -> BlobIngest? {
        do throws(ArchiveError) { try writer.finish(into: &output) } catch { throw .archive(error) }
        try await flush(isLast: true)
        return ingest
    }
}
