import JSON

/// Finds the one image for an architecture among manifests and indexes, nested ones too (OCI image specification,
/// image-index.md), and checks each document's size and digest on the way.
public struct ImageFinder {
    /// The largest document that is read, in bytes.
    public static let maximumDocument = 4 << 20
    /// How many layers an image may have.
    public static let maximumLayers = 127
    private static let maximumDepth = 4
    private static let maximumDocuments = 256
    /// How many bytes all documents that are read may have together.
    private static let maximumBytes = 32 << 20
    private static let maximumTold = 20

    private let architecture: String
    private let read: (Descriptor) async throws -> [UInt8]

    /// - Parameters:
    ///   - architecture: the wanted architecture, as Go names it; the system is always linux.
    ///   - read: gives the bytes of a document, at most `maximumDocument` of them. The finder verifies them.
    public init(architecture: String, read: @escaping (Descriptor) async throws -> [UInt8]) {
        self.architecture = architecture
        self.read = read
    }

    /// Finds the one image that fits.
    ///
    /// - Parameters:
    ///   - entries: the manifests and indexes to search.
    ///   - digest: the digest of the wanted manifest, or of an index that leads to it; nil: any manifest that fits is
    ///     wanted.
    /// - Throws: `UnsuitableImage`, which lists what there is, if no image fits or several do; what reading throws.
    public func find(in entries: [Descriptor], digest: Digest? = nil) async throws -> FoundImage {
        var search = Search()
        let named = entries.filter { $0.digest == digest }
        search.waiting = (named.isEmpty ? entries : named).reversed().map { (descriptor: $0, path: []) }
        var found: [FoundImage] = []
        while let (descriptor, path) = search.waiting.popLast() {
            let isWanted =
                digest == nil || digest == descriptor.digest || path.contains { $0.descriptor.digest == digest }
            // A document that is found outside the wanted index may stand inside it, too.
            guard search.seen[isWanted ? 1 : 0].insert(descriptor.digest).inserted else { continue }
            switch descriptor.mediaType {
            case .ociIndex, .dockerManifestList:
                guard path.count < Self.maximumDepth else { throw UnsuitableImage("the indexes nest too deep") }
                let document = try await document(descriptor, &search)
                let index = try parse(document, Index.init(json:))
                try check(index.mediaType, descriptor)
                search.waiting += index.manifests.reversed().map { ($0, path + [document]) }
            case .ociManifest, .dockerManifest:
                search.told.append(told(descriptor, descriptor.platform))
                guard isWanted, descriptor.platform.map(fits) ?? true else { continue }
                if let image = try await image(descriptor, path, &search) { found.append(image) }
            default: search.told.append(told(descriptor, nil))
            }
        }
        guard let image = found.first, found.count == 1 else { throw refusal(found, search, digest) }
        return image
    }

    private struct Search {
        /// The descriptors that are still to be looked at, the next one last, each with the documents that lead to it.
        var waiting: [(descriptor: Descriptor, path: [FoundImage.Document])] = []
        /// The digests that were looked at: outside the wanted index, and inside it.
        var seen: [Set<Digest>] = [[], []]
        var documents = 0
        var bytes: Int64 = 0
        var told: [String] = []
    }

    /// Reads a manifest and its configuration.
    ///
    /// - Returns: nil if the configuration is for another platform, or the manifest is no container image.
    private func image(
        _ descriptor: Descriptor, _ path: [FoundImage.Document], _ search: inout Search
    ) async throws -> FoundImage? {
        let document = try await document(descriptor, &search)
        let manifest = try parse(document, Manifest.init(json:))
        try check(manifest.mediaType, descriptor)
        guard [.ociConfig, .dockerConfig].contains(manifest.config.mediaType) else { return nil }
        let configDocument = try await self.document(manifest.config, &search)
        let config = try parse(configDocument, ImageConfig.init(json:))
        guard fits(config.platform) else {
            search.told[search.told.count - 1] = told(descriptor, config.platform)
            return nil
        }
        try Self.check(manifest, config)
        return FoundImage(
            documents: path + [document], manifest: manifest, config: configDocument, diffIDs: config.diffIDs)
    }

    private static let layerTypes: [MediaType] = [
        .ociLayer, .ociLayerGzip, .ociLayerZstd, .dockerLayer, .dockerLayerGzip,
    ]

    private static func check(_ manifest: Manifest, _ config: ImageConfig) throws(UnsuitableImage) {
        guard (1...maximumLayers).contains(manifest.layers.count) else {
            throw UnsuitableImage("the image has \(manifest.layers.count) layers: 1 to \(maximumLayers) are taken")
        }
        guard manifest.layers.count == config.diffIDs.count else {
            throw UnsuitableImage(
                "the image has \(manifest.layers.count) layers, and its configuration names \(config.diffIDs.count)")
        }
        for layer in manifest.layers where !layerTypes.contains(layer.mediaType) {
            throw UnsuitableImage("a layer is of the type \(layer.mediaType), which is not taken")
        }
    }

    private func fits(_ platform: Platform) -> Bool {
        platform.os == "linux" && platform.architecture == architecture
    }

    private func document(_ descriptor: Descriptor, _ search: inout Search) async throws -> FoundImage.Document {
        guard descriptor.size <= Int64(Self.maximumDocument) else {
            throw UnsuitableImage("\(descriptor.digest) has more than \(Self.maximumDocument) bytes")
        }
        search.documents += 1
        search.bytes += descriptor.size
        guard search.documents <= Self.maximumDocuments, search.bytes <= Self.maximumBytes else {
            throw UnsuitableImage("there are too many manifests to look at")
        }
        let bytes = try await read(descriptor)
        guard bytes.count == descriptor.size, Digest.of(bytes, descriptor.digest.algorithm) == descriptor.digest else {
            throw UnsuitableImage("what is called \(descriptor.digest) has other bytes")
        }
        return FoundImage.Document(descriptor: descriptor, bytes: bytes)
    }

    private func parse<Value>(
        _ document: FoundImage.Document, _ read: (JSONValue) throws(OCIError) -> Value
    ) throws(UnsuitableImage) -> Value {
        let name = document.descriptor.digest
        let json: JSONValue
        do { json = try JSONValue(parsing: document.bytes) } catch { throw UnsuitableImage("\(name) is \(error)") }
        do { return try read(json) } catch { throw UnsuitableImage("\(name): \(error)") }
    }

    private func check(_ own: MediaType?, _ descriptor: Descriptor) throws(UnsuitableImage) {
        guard own == nil || own == descriptor.mediaType else {
            throw UnsuitableImage("\(descriptor.digest) says that it is another type of document than its descriptor")
        }
    }

    private func told(_ descriptor: Descriptor, _ platform: Platform?) -> String {
        let name = descriptor.annotations["org.opencontainers.image.ref.name"].map { " (\($0.prefix(128)))" } ?? ""
        let system = platform.map { " \($0.os)/\($0.architecture)\($0.variant.map { "/\($0)" } ?? "")" } ?? ""
        return "\(descriptor.digest)\(system)\(name)"
    }

    private func refusal(_ found: [FoundImage], _ search: Search, _ digest: Digest?) -> UnsuitableImage {
        let list = search.told.prefix(Self.maximumTold).joined(separator: ", ")
        guard found.isEmpty else {
            let choices = found.map(\.digest.description).prefix(Self.maximumTold).joined(separator: ", ")
            return UnsuitableImage(
                "several images are for linux/\(architecture): name one by its digest (\(choices)); there are: \(list)")
        }
        let wanted = digest.map { "no image \($0)" } ?? "no image"
        return UnsuitableImage(
            "there is \(wanted) for linux/\(architecture); there \(list.isEmpty ? "is nothing" : "are: \(list)")")
    }
}

/// An image whose documents were read and checked, from the entry that was searched down to its configuration.
public struct FoundImage: Sendable {
    /// A document, and the descriptor by which it was found.
    public struct Document: Hashable, Sendable {
        public let descriptor: Descriptor
        public let bytes: [UInt8]

        public init(descriptor: Descriptor, bytes: [UInt8]) {
            self.descriptor = descriptor
            self.bytes = bytes
        }
    }

    /// The indexes that lead to the manifest, and the manifest last; never empty.
    public let documents: [Document]
    public let manifest: Manifest
    public let config: Document
    /// The layers' diffIDs, bottom up: as many as the manifest has layers.
    public let diffIDs: [Digest]

    /// The manifest's digest.
    public var digest: Digest { documents[documents.count - 1].descriptor.digest }
}

/// Why no image can be used, in words for the person who named it; printable and of bounded length.
public struct UnsuitableImage: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    public init(_ reason: String) {
        description = String(
            String.UnicodeScalarView(reason.unicodeScalars.prefix(4000).filter { $0.value >= 32 && $0.value != 127 }))
    }
}
