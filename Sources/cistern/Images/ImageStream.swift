import Archive
import JSON
import OCI
import Transfer

/// A tar of an OCI layout with one image, made while it is sent: no copy of it lies anywhere.
struct ImageStream: AsyncSequence, Sendable {
    typealias Element = [UInt8]

    enum Content: Sendable {
        case bytes([UInt8])
        case file(UploadFile)
        case remote(RemoteBlob)
    }

    fileprivate struct Member: Sendable {
        /// With everything before the content.
        let header: [UInt8]
        let size: Int64
        let content: Content
    }

    private let members: [Member]
    /// In bytes.
    let length: Int64

    /// - Parameter content: where the bytes of a layer are.
    init(_ image: FoundImage, content: (Descriptor) throws -> Content) throws {
        var members: [Member] = []
        var seen: Set<Digest> = []
        func add(_ name: String, _ size: Int64, _ content: Content) {
            var header: [UInt8] = []
            TarWriter.append(
                TarEntry(kind: .file, name: Array(name.utf8), mode: 0o644, modified: TarTime(seconds: 0), size: size),
                to: &header)
            members.append(Member(header: header, size: size, content: content))
        }
        func add(_ descriptor: Descriptor, _ content: Content) {
            guard seen.insert(descriptor.digest).inserted else { return }
            let digest = descriptor.digest
            add("blobs/\(digest.algorithm.rawValue)/\(digest.hex)", descriptor.size, content)
        }
        func add(_ name: String, _ bytes: [UInt8]) { add(name, Int64(bytes.count), .bytes(bytes)) }
        add("oci-layout", Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))
        add("index.json", Index(mediaType: .ociIndex, manifests: [image.documents[0].descriptor]).json.canonicalBytes)
        for document in image.documents + [image.config] { add(document.descriptor, .bytes(document.bytes)) }
        for layer in image.manifest.layers { add(layer, try content(layer)) }
        self.members = members
        length = members.reduce(Int64(TarWriter.endLength)) { total, member in
            total + Int64(member.header.count) + member.size + Int64(TarWriter.padding(member.size))
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(members: members[...]) }

    struct Iterator: AsyncIteratorProtocol {
        private enum Source {
            case file(FileChunks.Iterator)
            case remote(RemoteBlob.Iterator)
        }

        private var members: ArraySlice<Member>
        private var source: Source?
        private var padding = 0
        private var isEnded = false

        fileprivate init(members: ArraySlice<Member>) { self.members = members }

        mutating func next() async throws -> [UInt8]? {
            if let bytes = try await content() { return bytes }
            let fill = [UInt8](repeating: 0, count: padding)
            padding = 0
            guard let member = members.popFirst() else {
                defer { isEnded = true }
                return isEnded ? nil : fill + [UInt8](repeating: 0, count: TarWriter.endLength)
            }
            padding = TarWriter.padding(member.size)
            switch member.content {
            case .bytes(let bytes): return fill + member.header + bytes
            case .file(let file): source = .file(file.chunks.makeAsyncIterator())
            case .remote(let blob): source = .remote(blob.makeAsyncIterator())
            }
            return fill + member.header
        }

        private mutating func content() async throws -> [UInt8]? {
            switch source {
            case nil: return nil
            case .file(var iterator):
                let bytes = try await iterator.next()
                source = bytes == nil ? nil : .file(iterator)
                return bytes
            case .remote(var iterator):
                let bytes = try await iterator.next()
                source = bytes == nil ? nil : .remote(iterator)
                return bytes
            }
        }
    }
}
