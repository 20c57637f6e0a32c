import Archive
import Blobs
import Foundation
import JSON
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
    /// The most files of the stash that are read at once. They are read until they have a portion's bytes together.
    private static let batch = 256

    private let stash: Stash
    private let limits: BitsLimits
    /// The longest central directory, in bytes.
    private let maximumDirectory: Int64
    /// nil if no zip is written.
    private var ingest: BlobIngest?
    private var writer: ZipWriter
    private var output: [UInt8] = []
    private var names = ZipNames()
    /// Of the new zip: how many entries it has, and how many bytes they have together.
    private var count = 0
    private var total: Int64 = 0
    private(set) var files: [StashedFile] = []

    /// - Parameter ingest: takes the new zip; nil: none is written.
    init(stash: Stash, limits: BitsLimits, into ingest: BlobIngest?) throws(BitsError) {
        self.stash = stash
        self.limits = limits
        maximumDirectory = min(limits.zip.directoryLength, ZipCheck.maximumDirectory)
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
                try begin(entry)
                if entry.kind == .file { try await take(entry, of: &zip) }
                if ingest != nil { try writer.end(into: &output) }
                try await flush()
            }
        } catch let error as ArchiveError { throw .archive(error) } catch let error as BitsError { throw error } catch {
            throw .input(error)
        }
    }

    /// Begins an entry, if one that is called so may be there, and within the limits by which the new zip will be read.
    private mutating func begin(_ entry: ZipEntry) throws(BitsError) {
        do throws(ArchiveError) {
            try names.take(entry)
            guard ingest != nil else { return }
            guard entry.name.count <= limits.zip.nameLength else {
                throw ArchiveError.tooLarge("the name is too long", entry: entry.name)
            }
            count += 1
            guard count <= limits.zip.entries else {
                throw ArchiveError.tooLarge("there are too many entries", entry: entry.name)
            }
            try writer.begin(entry, method: .stored, into: &output)
        } catch { throw .archive(error) }
        total = total.clampedAdding(entry.size)
        guard total <= limits.zip.bytes else { throw .tooLarge(maximum: limits.zip.bytes) }
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

    /// Adds files of the stash. While some are written, the next ones are read.
    mutating func add(_ wanted: [StashedFile]) async throws(BitsError) {
        let now = Int64(Date.now.timeIntervalSince1970)
        let blobs = stash.blobs
        var rest = wanted[...]
        var batch = try await nextBatch(&rest)
        var contents = await Self.contents(of: batch, in: blobs)
        while !batch.isEmpty {
            if Task.isCancelled { throw .cancelled }
            let next = try await nextBatch(&rest)
            async let nextContents = Self.contents(of: next, in: blobs)
            if let failure = contents.failure { throw .blob(failure) }
            for (index, item) in batch.enumerated() {
                let entry = ZipEntry(
                    kind: .file, name: Array(item.file.name.utf8), mode: item.file.mode,
                    modified: .init(seconds: now), size: item.record.size)
                try begin(entry)
                try await write(index < contents.bytes.count ? contents.bytes[index] : nil, item.record)
                do throws(ArchiveError) { try writer.end(into: &output) } catch { throw .archive(error) }
                try await flush()
            }
            contents = await nextContents
            batch = next
        }
    }

    /// Looks for the next files of a list, as many as are read at once: several small ones, or a large one.
    private func nextBatch(
        _ rest: inout ArraySlice<StashedFile>
    ) async throws(BitsError) -> [(file: StashedFile, record: StashRecord)] {
        var batch: [(file: StashedFile, record: StashRecord)] = []
        var size: Int64 = 0
        while batch.count < Self.batch, size < Self.portion, let file = rest.first {
            let record = try await stash.find(file)
            batch.append((file, record))
            size = size.clampedAdding(record.size)
            rest.removeFirst()
        }
        return batch
    }

    /// What was read of some files. A large one has no bytes: it is read piece by piece.
    private struct Contents: Sendable {
        var bytes: [[UInt8]?] = []
        /// Why the next one could not be read.
        var failure: BlobError?
    }

    private static func contents(
        of files: [(file: StashedFile, record: StashRecord)], in blobs: BlobStore
    ) async -> Contents {
        var contents = Contents()
        contents.bytes.reserveCapacity(files.count)
        do throws(BlobError) {
            for file in files {
                let isSmall = file.record.size <= Stash.small
                contents.bytes.append(
                    isSmall
                        ? try await blobs.read(file.record.digest, maximum: Int(Stash.small), use: .rarely) : nil)
            }
        } catch { contents.failure = error }
        return contents
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

    /// Ends the new zip. Whoever checks zips would find nothing wrong with it.
    /// - Returns: what took it, with all its bytes.
    mutating func finish() async throws(BitsError) -> BlobIngest? {
        let length = output.count
        do throws(ArchiveError) {
            try writer.finish(into: &output)
            guard Int64(output.count - length) <= maximumDirectory else {
                throw ArchiveError.tooLarge("the zip's directory is too long")
            }
        } catch { throw .archive(error) }
        try await flush(isLast: true)
        return ingest
    }
}
