import Archive
import Blobs
import Layers
import OCI

/// The files of a tar that holds an image, by name: read in one pass, since what says which of them are wanted may come
/// last. Discard it when done.
final class ImageArchive {
    private static let maximumFiles = 10_000
    private static let maximumName = 512
    private static let maximumLinks = 8
    /// What is kept in memory at most: of one file, and of all.
    private static let smallFile: Int64 = 4 << 20
    private static let smallFiles: Int64 = 32 << 20
    /// What a file is remembered with besides its name, in bytes.
    private static let recordBytes = 400

    private let blobs: BlobStore
    private let limits: ConversionLimits
    private let memory: ArchiveMemory.Share
    private var files: [String: ArchivedFile] = [:]
    /// Symbolic and hard links, by name.
    private var links: [String: String] = [:]
    private var names: Set<String> = []
    private var totalBytes: Int64 = 0
    private var memoryBytes: Int64 = 0
    private var open: OpenFile?

    private struct OpenFile {
        let name: String
        var left: Int64
        var memory: [UInt8] = []
        var writer: BlobWriter?
        /// What the file's name says that its bytes are.
        var promised: (digest: Digest, hasher: DigestHasher)?
    }

    /// - Throws: `UnsuitableImage`; `ConversionError` for what is no tar; `BlobError`; what the source throws. Nothing is
    ///   kept then.
    init<Source: AsyncSequence & Sendable>(
        reading source: Source, into blobs: BlobStore, limits: ConversionLimits
    ) async throws where Source.Element == [UInt8] {
        self.blobs = blobs
        self.limits = limits
        memory = ArchiveMemory.Share(of: limits.memory)
        do {
            try await readArchive(source, limits: limits) { try await self.take($0) }
        } catch {
            await discard()
            throw error
        }
    }

    /// Removes all that was staged.
    func discard() async {
        await open?.writer?.abort()
        open = nil
        for case .staged(let blob) in files.values { await blob.discard() }
        files = [:]
    }

    /// The file of that name, links followed; nil if there is none.
    func file(_ name: String) -> ArchivedFile? {
        var name = name
        for _ in 0..<Self.maximumLinks {
            if let file = files[name] { return file }
            guard let next = links[name] else { return nil }
            name = next
        }
        return nil
    }

    /// The blob of that digest, which its bytes have; nil if there is none.
    func blob(_ digest: Digest) -> ArchivedFile? { files[Self.path(digest)] }

    static func path(_ digest: Digest) -> String { "blobs/\(digest.algorithm.rawValue)/\(digest.hex)" }

    /// A document's bytes.
    /// - Throws: `UnsuitableImage` if it is not there, or too large.
    func document(_ name: String) async throws -> [UInt8] {
        guard let file = file(name) else { throw UnsuitableImage("the archive has no \(name)") }
        guard file.size <= Int64(ImageFinder.maximumDocument) else { throw UnsuitableImage("\(name) is too large") }
        return try await file.bytes()
    }
}

// MARK: - Reading

extension ImageArchive {
    private func take(_ part: ArchivePart) async throws {
        switch part {
        case .entry(let entry): try await begin(entry)
        case .content(let bytes): try await append(bytes)
        case .hole: throw UnsuitableImage("the archive has sparse files")
        }
    }

    private func begin(_ entry: TarEntry) async throws {
        try memory.take(3 * entry.name.count + entry.linkName.count + Self.recordBytes)
        let name = try Self.clean(entry.name)
        if entry.kind == .directory { return }
        guard names.count < Self.maximumFiles else {
            throw UnsuitableImage("the archive has more than \(Self.maximumFiles) files")
        }
        guard !name.isEmpty, names.insert(name).inserted else {
            throw UnsuitableImage("the archive has the file \(name) twice")
        }
        switch entry.kind {
        case .file: try await begin(name, entry.size)
        case .symbolicLink:
            let folder = name.split(separator: "/").dropLast().joined(separator: "/")
            links[name] = try Self.clean(entry.linkName, in: folder)
        case .hardLink: links[name] = try Self.clean(entry.linkName)
        default: throw UnsuitableImage("the archive has the device \(name)")
        }
    }

    private func begin(_ name: String, _ size: Int64) async throws {
        guard size <= limits.outputBytes - totalBytes else {
            throw UnsuitableImage("the archive has more than \(limits.outputBytes) bytes")
        }
        totalBytes += size
        var file = OpenFile(name: name, left: size)
        let parts = name.split(separator: "/")
        if parts.count == 3, parts[0] == "blobs" {
            guard let digest = try? Digest(parsing: "\(parts[1]):\(parts[2])") else {
                throw UnsuitableImage("the archive has \(name), which is no blob's name")
            }
            file.promised = (digest, DigestHasher(digest.algorithm))
        }
        if size <= Self.smallFile, size <= Self.smallFiles - memoryBytes {
            try memory.take(Int(size))
            memoryBytes += size
            file.memory.reserveCapacity(Int(size))
        } else {
            file.writer = blobs.begin()
        }
        open = file
        if size == 0 { try await end() }
    }

    private func append(_ bytes: [UInt8]) async throws {
        open?.promised?.hasher.update(bytes)
        open?.left -= Int64(bytes.count)
        if let writer = open?.writer { try await writer.write(bytes) } else { open?.memory += bytes }
        if open?.left == 0 { try await end() }
    }

    private func end() async throws {
        guard let file = open else { return }
        if let (digest, hasher) = file.promised, hasher.finish() != digest {
            throw UnsuitableImage("what the archive calls \(digest) has other bytes")
        }
        open = nil
        files[file.name] =
            if let writer = file.writer { .staged(try await writer.finish()) } else { .memory(file.memory) }
    }

    /// A name inside the archive, joined by single slashes.
    private static func clean(_ bytes: [UInt8], in folder: String = "") throws(UnsuitableImage) -> String {
        guard bytes.count <= maximumName, bytes.first != UInt8(ascii: "/"), !bytes.contains(0),
            let text = String(validating: bytes, as: UTF8.self)
        else { throw UnsuitableImage("the archive has a name that is none of an image's") }
        var parts = folder.split(separator: "/")
        for part in text.split(separator: "/") where part != "." {
            if part == ".." {
                guard parts.popLast() != nil else {
                    throw UnsuitableImage("the archive has a link that leads out of it")
                }
            } else {
                parts.append(part)
            }
        }
        return parts.joined(separator: "/")
    }
}
