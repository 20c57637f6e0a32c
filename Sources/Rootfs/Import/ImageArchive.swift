import Archive
import Blobs
import JSON
import Layers
import OCI
import ObjectStore

/// The files of a tar that holds an image, by name. They are read in one pass, because the file that tells which of
/// them are needed may come last. Call `discard` when done.
final class ImageArchive {
    private static let maximumFiles = 10_000
    private static let maximumName = 512
    private static let maximumLinks = 8
    /// The most bytes that are kept in memory: of one file, and of all files together.
    private static let smallFile: Int64 = 4 << 20
    private static let smallFiles: Int64 = 32 << 20
    /// How much memory a file takes besides its name, in bytes.
    private static let recordBytes = 400

    private let blobs: BlobStore
    private let limits: ConversionLimits
    private let memory: ArchiveMemory.Share
    private var files: ByName<ArchivedFile> = [:]
    /// Symbolic and hard links, by name.
    private var links: ByName<String> = [:]
    private var names: Set<ExactText> = []
    private var totalBytes: Int64 = 0
    private var memoryBytes: Int64 = 0
    private var entry: Entry?

    /// The file that is being read.
    private struct Entry {
        let name: String
        var left: Int64
        /// The digest that the file's name states.
        let promised: Digest?
        /// nil if the file is kept in the store.
        var memory: [UInt8]?
        /// nil if the file is kept in memory and its name states no digest.
        var ingest: BlobIngest?
    }

    /// - Throws: `UnsuitableImage`; `ConversionError` if the source is no valid tar; `BlobError`; what the source
    ///   throws. All staged files are removed then.
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

    /// Removes all staged files.
    func discard() async {
        await entry?.ingest?.abort()
        entry = nil
        for case .staged(let blob) in files.values { await blob.discard() }
        files = [:]
    }

    /// The file with a name, after following links; nil if there is none.
    func file(_ name: String) -> ArchivedFile? {
        var name = name
        for _ in 0..<Self.maximumLinks {
            if let file = files[name] { return file }
            guard let next = links[name] else { return nil }
            name = next
        }
        return nil
    }

    /// The file of a blob, whose bytes were checked against the digest; nil if there is none.
    func blob(_ digest: Digest) -> ArchivedFile? { files[Self.path(digest)] }

    static func path(_ digest: Digest) -> String { "blobs/\(digest.algorithm.rawValue)/\(digest.hex)" }

    /// A document's bytes.
    /// - Throws: `UnsuitableImage` if it is missing or too large.
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
        guard !name.isEmpty, names.insert(ExactText(name)).inserted else {
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
            try memory.take(Int(size))
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

    /// The digest that a file's name states; nil if the file is not a blob.
    /// - Throws: `UnsuitableImage` if a blob's name is no digest.
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

    /// A path inside the archive in a canonical form, without `.`, `..` and empty components.
    /// - Throws: `UnsuitableImage` for an absolute or overlong path, or one that leads out of the archive.
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

/// A file of an image archive: small ones are in memory, others staged in the store.
enum ArchivedFile: Sendable {
    case memory([UInt8])
    case staged(StagedBlob)

    var size: Int64 {
        switch self {
        case .memory(let bytes): Int64(bytes.count)
        case .staged(let blob): blob.size
        }
    }

    /// All bytes of a file that the caller knows to be small.
    func bytes() async throws -> [UInt8] {
        switch self {
        case .memory(let bytes): return bytes
        case .staged(let blob):
            let reader = try await blob.open()
            let bytes = try await reader.read(at: 0, maximum: Int(blob.size))
            await reader.close()
            return bytes
        }
    }
}

/// An archived file that is a layer.
struct ArchivedLayer: LayerSource {
    let file: ArchivedFile
    let diffID: Digest?

    func bytes() -> Bytes { Bytes(layer: self) }

    struct Bytes: AsyncSequence, Sendable {
        let layer: ArchivedLayer

        func makeAsyncIterator() -> Iterator {
            switch layer.file {
            case .memory(let bytes): Iterator(memory: bytes, stored: nil)
            case .staged(let blob):
                Iterator(memory: nil, stored: StoredLayer(blob, diffID: layer.diffID).bytes().makeAsyncIterator())
            }
        }
    }

    struct Iterator: AsyncIteratorProtocol {
        var memory: [UInt8]?
        var stored: StoredLayer.Iterator?

        mutating func next() async throws -> [UInt8]? {
            if let bytes = memory {
                memory = nil
                return bytes
            }
            return try await stored?.next()
        }
    }
}

/// The image that is imported from an archive, with its documents verified and its layers found.
struct ArchivedImage {
    /// The manifest's digest; for a docker-archive, which has no manifest, the configuration's.
    let digest: Digest
    /// Bottom up. Their diffIDs are checked while they are read.
    let layers: [ArchivedLayer]
    /// The documents that a signature may be of: the manifest, and indexes that lead to it. Empty for a docker-archive.
    let signable: [[UInt8]]
}

extension ArchivedImage {
    /// Finds the image in a tar of an OCI layout (OCI image specification, image-layout.md).
    /// - Throws: `UnsuitableImage`, `BlobError`, `ObjectStoreError`.
    init(layout archive: ImageArchive, architecture: Architecture, digest: Digest?) async throws {
        let layout = try? JSONValue(parsing: try await archive.document("oci-layout"))
        guard layout?["imageLayoutVersion"]?.string?.hasPrefix("1.") == true else {
            throw UnsuitableImage("the archive has no oci-layout of version 1")
        }
        let index: Index
        do { index = try Index(json: try JSONValue(parsing: try await archive.document("index.json"))) } catch {
            guard error is OCIError || error is JSONError else { throw error }
            throw UnsuitableImage("index.json: \(error)")
        }
        let finder = ImageFinder(architecture: architecture.rawValue) { descriptor in
            try await archive.document(ImageArchive.path(descriptor.digest))
        }
        let found = try await finder.find(in: index.manifests, digest: digest)
        self.digest = found.digest
        signable = found.documents.map(\.bytes)
        var layers: [ArchivedLayer] = []
        for (layer, diffID) in zip(found.manifest.layers, found.diffIDs) {
            guard let file = archive.blob(layer.digest) else {
                throw UnsuitableImage("the archive has no layer \(layer.digest)")
            }
            guard file.size == layer.size else {
                throw UnsuitableImage("the layer \(layer.digest) has \(file.size) bytes, not \(layer.size)")
            }
            layers.append(ArchivedLayer(file: file, diffID: diffID))
        }
        self.layers = layers
    }
}

extension ArchivedImage {
    private static let maximumImages = 100

    /// Finds the image in a tar as `docker save` writes it, and skopeo for `docker-archive:`.
    /// - Parameter wanted: the digest of the image's configuration, which is docker's name for the image.
    /// - Throws: `UnsuitableImage`, `BlobError`, `ObjectStoreError`.
    init(dockerArchive archive: ImageArchive, architecture: Architecture, digest wanted: Digest?) async throws {
        guard let json = try? JSONValue(parsing: try await archive.document("manifest.json")),
            let entries = json.array, entries.count <= Self.maximumImages
        else { throw UnsuitableImage("the archive has no manifest.json that lists images") }
        var found: [ArchivedImage] = []
        var told: [String] = []
        for entry in entries {
            guard let file = entry["Config"]?.string,
                let names = entry["Layers"]?.array?.compactMap(\.string), names.count == entry["Layers"]?.array?.count
            else { throw UnsuitableImage("manifest.json lists something that is no image") }
            let (digest, config) = try await Self.config(file, archive)
            let platform = "\(config.platform.os)/\(config.platform.architecture)"
            let tags = entry["RepoTags"]?.array?.compactMap(\.string).prefix(3).joined(separator: " ") ?? ""
            told.append("\(digest) \(platform)\(tags.isEmpty ? "" : " (\(tags))")")
            guard config.platform.os == "linux", config.platform.architecture == architecture.rawValue,
                wanted == nil || wanted == digest, !found.contains(where: { $0.digest == digest })
            else { continue }
            found.append(try Self.image(digest, config, names, archive))
        }
        let list = told.prefix(20).joined(separator: ", ")
        guard let image = found.first else {
            throw UnsuitableImage(
                "there is no image \(wanted.map { "\($0) " } ?? "")for linux/\(architecture); there are: \(list)")
        }
        guard found.count == 1 else {
            throw UnsuitableImage(
                "several images are for linux/\(architecture): name one by its digest; there are: \(list)")
        }
        self = image
    }

    private static func config(
        _ name: String, _ archive: ImageArchive
    ) async throws -> (Digest, ImageConfig) {
        let bytes = try await archive.document(name)
        let digest = Digest.of(bytes)
        // Docker names the configuration's file by its digest.
        let stem = name.hasSuffix(".json") ? name.dropLast(5) : name.split(separator: "/").last ?? ""
        if let named = try? Digest(.sha256, hex: String(stem)), named != digest {
            throw UnsuitableImage("what the archive calls \(named) has other bytes")
        }
        do { return (digest, try ImageConfig(json: try JSONValue(parsing: bytes))) } catch {
            throw UnsuitableImage("\(name): \(error)")
        }
    }

    private static func image(
        _ digest: Digest, _ config: ImageConfig, _ names: [String], _ archive: ImageArchive
    ) throws(UnsuitableImage) -> ArchivedImage {
        guard (1...ImageFinder.maximumLayers).contains(names.count), names.count == config.diffIDs.count else {
            throw UnsuitableImage(
                "the image \(digest) has \(names.count) layers, and its configuration names \(config.diffIDs.count)")
        }
        var layers: [ArchivedLayer] = []
        for (name, diffID) in zip(names, config.diffIDs) {
            guard let file = archive.file(name) else { throw UnsuitableImage("the archive has no layer \(name)") }
            layers.append(ArchivedLayer(file: file, diffID: diffID))
        }
        return ArchivedImage(digest: digest, layers: layers, signable: [])
    }
}
