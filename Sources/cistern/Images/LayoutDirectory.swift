import Foundation
import JSON
import OCI
import Transfer

/// An OCI layout on disk (OCI image specification, image-layout.md).
struct LayoutDirectory {
    let path: String

    /// Whether there is one.
    static func isThere(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path + "/oci-layout") }

    /// Reads and checks the documents of the image for an architecture.
    /// - Parameter digest: of the wanted one; nil: the only one.
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
