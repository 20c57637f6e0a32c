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

    private let blobs: BlobStore
    private let limits: ConversionLimits
    private var files: [String: ArchivedFile] = [:]
    /// Symbolic and hard links, by name.
    private var links: [String: String] = [:]
    private var names: Set<String> = []
    private var totalBytes: Int64 = 0
    private var memoryBytes: Int64 = 0
    private var entry: Entry?

    /// The file that is being read.
    private struct Entry {
        let name: String
        var left: Int64
        /// What the file's name says that its bytes are.
        let promised: Digest?
        /// nil: the file is kept in the store.
        var memory: [UInt8]?
        /// nil: nothing is promised, and the file is kept in memory.
        var ingest: BlobIngest?
    }

    /// - Throws: `UnsuitableImage`; `ConversionError` for what is no tar; `BlobError`; what the source throws. Nothing is
    ///   kept then.
    init<Source: AsyncSequence & Sendable>(
        reading source: Source, into blobs: BlobStore, limits: ConversionLimits
    ) async throws where Source.Element == [UInt8] {
        self.blobs = blobs
        self.limits = limits
        do {
            try await readArchive(source, limits: limits) { try await self.take($0) }
        } catch {
            await discard()
            throw error
        }
    }

    /// Removes all that was staged.
    func discard() async {
        await entry?.ingest?.abort()
        entry = nil
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
        let promised = try Self.promised(name)
        let isSmall = size <= Self.smallFile && size <= Self.smallFiles - memoryBytes
        var entry = Entry(name: name, left: size, promised: promised)
        if isSmall {
            memoryBytes += size
            entry.memory = []
            entry.memory?.reserveCapacity(Int(size))
        }
        if !isSmall || promised != nil {
            entry.ingest = BlobIngest(into: isSmall ? nil : blobs, promised?.algorithm ?? .sha256)
        }
        self.entry = entry
        if size == 0 { try await end() }
    }

    /// - Throws: `UnsuitableImage` for a blob without a digest.
    private static func promised(_ name: String) throws -> Digest? {
        let parts = name.split(separator: "/")
        guard parts.count == 3, parts[0] == "blobs" else { return nil }
        guard let digest = try? Digest(parsing: "\(parts[1]):\(parts[2])") else {
            throw UnsuitableImage("the archive has \(name), which is no blob's name")
        }
        return digest
    }

    private func append(_ bytes: [UInt8]) async throws {
        entry?.left -= Int64(bytes.count)
        entry?.memory?.append(contentsOf: bytes)
        try await entry?.ingest?.append(bytes)
        if entry?.left == 0 { try await end() }
    }

    private func end() async throws {
        guard var file = entry else { return }
        if let promised = file.promised {
            do { try file.ingest?.check(.digest(promised)) } catch {
                throw UnsuitableImage("what the archive calls \(promised) has other bytes")
            }
        }
        entry = nil
        if let memory = file.memory {
            files[file.name] = .memory(memory)
        } else if let staged = try await file.ingest?.finish() {
            files[file.name] = .staged(staged)
        }
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
