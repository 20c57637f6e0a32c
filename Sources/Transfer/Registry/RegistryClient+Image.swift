import AsyncHTTPClient
import JSON
import NIOCore
import NIOHTTP1
public import OCI

extension RegistryClient {
    private static let manifestTypes: [MediaType] = [.ociManifest, .ociIndex, .dockerManifest, .dockerManifestList]

    /// Reads the documents of the image for an architecture.
    /// - Throws: `UnsuitableImage`, `TransferError`.
    public func image(architecture: String) async throws -> FoundImage {
        let root = try await root()
        let finder = ImageFinder(architecture: architecture) { descriptor in
            if descriptor.digest == root.descriptor.digest { return root.bytes }
            let kind = Self.manifestTypes.contains(descriptor.mediaType) ? "manifests" : "blobs"
            return try await self.document("\(kind)/\(descriptor.digest)", [descriptor.mediaType.text]).bytes
        }
        return try await finder.find(in: [root.descriptor])
    }

    /// The document that the location names. Its type is the one that the registry gives it.
    private func root() async throws -> FoundImage.Document {
        let (bytes, type) = try await document(
            "manifests/\(location.digest)", Self.manifestTypes.map(\.text))
        let own = (try? JSONValue(parsing: bytes))?["mediaType"]?.string
        guard let type = try? MediaType(parsing: own ?? type), Self.manifestTypes.contains(type) else {
            throw UnsuitableImage("\(location.digest) is neither a manifest nor an index")
        }
        return FoundImage.Document(
            descriptor: Descriptor(mediaType: type, digest: location.digest, size: Int64(bytes.count)), bytes: bytes)
    }

    private func document(_ path: String, _ accept: [String]) async throws -> (bytes: [UInt8], type: String) {
        var attempt = 0
        while true {
            attempt += 1
            let response = try await get(path, accept: accept)
            do {
                let body = try await response.body.collect(upTo: ImageFinder.maximumDocument)
                let type = response.headers.first(name: "Content-Type")?.split(separator: ";").first
                return (Array(body.readableBytesView), String(type ?? ""))
            } catch is NIOTooManyBytesError {
                throw UnsuitableImage("\(path) has more than \(ImageFinder.maximumDocument) bytes")
            } catch {
                guard Self.mayGetBetter(error), attempt < Self.maximumAttempts else { throw failure(error) }
                try await wait(attempt)
            }
        }
    }

    /// A blob's bytes. It ends well only if all of them came, and they have the digest.
    public func blob(_ descriptor: Descriptor) -> RemoteBlob { RemoteBlob(client: self, descriptor: descriptor) }
}
