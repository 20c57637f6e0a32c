import Archive
import ArgumentParser
import Foundation
import JSON
import Layers
import OCI
import Transfer

/// The form of a file to import, found out from the names in it: only an image has no other names than some that are
/// known.
enum SourceForm {
    case tar, oci, docker

    /// The content type that tells the server the form.
    var contentType: String {
        switch self {
        case .tar: "application/octet-stream"
        case .oci: "application/vnd.oci.image.layout.v1+tar"
        case .docker: "application/vnd.docker.image.archive.v1+tar"
        }
    }

    private struct Found: Error {
        let form: SourceForm
    }

    /// Finds out a file's form. Of a root filesystem's tar only the beginning is read. A file that can't be read
    /// counts as a tar: the server says what is wrong with it.
    static func detect(_ file: UploadFile) async -> SourceForm {
        var isDocker = false
        do {
            var limits = ConversionLimits()
            limits.compressions = .all
            try await readArchive(file.chunks, limits: limits) { part in
                guard case .entry(let entry) = part else { return }
                let name = String(decoding: entry.name, as: UTF8.self).split(separator: "/").filter { $0 != "." }
                if name == ["oci-layout"] { throw Found(form: .oci) }
                if name == ["manifest.json"] { isDocker = true }
                guard name.isEmpty || isOfImage(name) else { throw Found(form: .tar) }
            }
        } catch {
            return (error as? Found)?.form ?? .tar
        }
        return isDocker ? .docker : .tar
    }

    /// Whether an image may have a name: `blobs/…`, `<id>/layer.tar`, `<id>.json` and the like.
    private static func isOfImage(_ name: [Substring]) -> Bool {
        if name.count == 1, ["index.json", "manifest.json", "repositories"].contains(name[0]) { return true }
        if name[0] == "blobs" { return name.count <= 3 }
        let stem = name[0].prefix(64)
        guard stem.count == 64, stem.allSatisfy(\.isHexDigit), name.count <= 2 else { return false }
        if name.count == 2 { return stem == name[0] && ["layer.tar", "json", "VERSION"].contains(name[1]) }
        return ["", ".json", ".tar"].contains(name[0].dropFirst(64))
    }
}

/// Options for the registry that an image comes from.
struct SourceOptions: ParsableArguments {
    @Option(help: "Who asks the registry that the image comes from.")
    var sourceUser: String?

    @Option(help: "A file with that user's password or token.")
    var sourcePasswordFile: String?

    @Option(help: "A PEM file with that registry's certificate authority.")
    var sourceCa: String?

    @Flag(help: "Ask that registry without TLS.")
    var plainHttp = false

    /// Whether a user is given without a password, or the reverse.
    var isHalf: Bool { (sourceUser == nil) != (sourcePasswordFile == nil) }

    var isEmpty: Bool { sourceUser == nil && sourcePasswordFile == nil && sourceCa == nil && !plainHttp }

    func access() throws -> RegistryAccess {
        RegistryAccess(
            user: sourceUser, password: try sourcePasswordFile.map(PasswordFile.read) ?? "", authorityFile: sourceCa,
            isPlain: plainHttp)
    }
}

/// A tar of an OCI layout with one image. It is made while it is sent, and no copy of it is stored.
struct ImageStream: AsyncSequence, Sendable {
    typealias Element = [UInt8]

    enum Content: Sendable {
        case bytes([UInt8])
        case file(UploadFile)
        case remote(RemoteBlob)
    }

    fileprivate struct Member: Sendable {
        /// The bytes of the tar that precede the content.
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

/// An OCI layout on disk (OCI image specification, image-layout.md).
struct LayoutDirectory {
    let path: String

    /// Whether a directory is an OCI layout.
    static func isThere(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path + "/oci-layout") }

    /// Reads and checks the documents of the image for an architecture.
    /// - Parameter digest: the wanted image's digest; nil for the only image.
    func image(architecture: String, digest: Digest?) async throws -> FoundImage {
        let index: Index
        do {
            index = try Index(json: try JSONValue(parsing: try document(path + "/index.json")))
        } catch let error as TransferError {
            throw error
        } catch { throw UnsuitableImage("\(path)/index.json: \(error)") }
        let finder = ImageFinder(architecture: architecture) { try document(blob($0.digest)) }
        return try await finder.find(in: index.manifests, digest: digest)
    }

    /// A layer's file.
    func layer(_ descriptor: Descriptor) throws -> UploadFile {
        let file = try UploadFile(path: blob(descriptor.digest))
        guard file.size == descriptor.size else {
            throw UnsuitableImage("\(file.path) has \(file.size) bytes, not \(descriptor.size)")
        }
        return file
    }

    private func blob(_ digest: Digest) -> String { "\(path)/blobs/\(digest.algorithm.rawValue)/\(digest.hex)" }

    private func document(_ path: String) throws -> [UInt8] {
        let file = try UploadFile(path: path)
        guard file.size <= Int64(ImageFinder.maximumDocument) else { throw UnsuitableImage("\(path) is too large") }
        return try file.bytes()
    }
}
