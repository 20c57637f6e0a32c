import JSON
import OCI
import Testing

@Suite("The search for an image")
struct ImageFinderTests {
    /// A document's bytes by its digest.
    private struct Documents {
        var bytes: [Digest: [UInt8]] = [:]

        mutating func add(_ type: MediaType, _ json: JSONValue) -> Descriptor {
            let bytes = json.canonicalBytes
            let descriptor = Descriptor(mediaType: type, digest: .of(bytes), size: Int64(bytes.count))
            self.bytes[descriptor.digest] = bytes
            return descriptor
        }

        mutating func image(_ layer: Digest) -> Descriptor {
            let config = add(
                .ociConfig,
                [
                    "architecture": "amd64", "os": "linux",
                    "rootfs": ["type": "layers", "diff_ids": [.string(layer.description)]],
                ])
            return add(
                .ociManifest,
                [
                    "schemaVersion": 2, "config": config.json,
                    "layers": [Descriptor(mediaType: .ociLayer, digest: layer, size: 1).json],
                ])
        }

        mutating func index(_ manifests: [Descriptor]) -> Descriptor {
            add(.ociIndex, ["schemaVersion": 2, "manifests": .array(manifests.map(\.json))])
        }
    }

    @Test("finds an image in the wanted index that stands outside it, too, in either order", arguments: [false, true])
    func twice(_ isReversed: Bool) async throws {
        var documents = Documents()
        let (image, other) = (documents.image(.of([1])), documents.image(.of([2])))
        let wanted = documents.index([image])
        let entries = [image, documents.index([other, wanted])]
        let all = documents.bytes
        let finder = ImageFinder(architecture: "amd64") { all[$0.digest] ?? [] }
        let found = try await finder.find(in: isReversed ? entries.reversed() : entries, digest: wanted.digest)
        #expect(found.digest == image.digest)
    }
}
