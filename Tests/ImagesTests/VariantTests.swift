import Archive
import Droplets
import Images
import ImagesTesting
import JSON
import Layers
import OCI
import ObjectStore
import Packages
import Rootfs
import Runtime
import TestSupport
import Testing

@Suite("Versions with several variants")
struct VariantTests {
    private static func recipe(_ architecture: Architecture, _ family: MediaTypeFamily) throws -> Recipe {
        Recipe(
            format: .v1, stack: try StackName("cisternfs"), version: try VersionName("1"), architecture: architecture,
            family: family, rootfs: [try Samples.layer("rootfs \(architecture)")],
            rootfsCreated: Timestamp(seconds: 1_767_225_600), shell: "/bin/bash",
            lifecycle: try Samples.layer("lifecycle"))
    }

    @Test(
        "the index is what it always was, whatever order the variants came in",
        arguments: [
            (
                MediaTypeFamily.oci, MediaType.ociIndex,
                "sha256:cd1c18a4679fe33724a960c5dc6c414b2f59e6b70cf24d0f3337b9d95aac6949"
            ),
            (
                .docker, .dockerManifestList,
                "sha256:d5f4b1efd05426fd54f3c85b4b5c0393e603e1d871734bca1e51b6af8cc7ec68"
            ),
        ])
    func golden(family: MediaTypeFamily, type: MediaType, digest: String) throws {
        let images = try Architecture.allCases.map { ($0, composeBase(try Self.recipe($0, family))) }
        for shuffled in [images, images.reversed()] {
            let index = composeIndex(shuffled)
            #expect(index.mediaType == type)
            #expect(index.digest.description == digest)
            #expect(Digest.of(index.bytes) == index.digest)
            let parsed = try Index(json: try JSONValue(parsing: index.bytes))
            #expect(parsed.manifests.map(\.platform?.architecture) == ["amd64", "arm64"])
            #expect(parsed.manifests.map(\.digest) == images.map(\.1.manifestDigest))
        }
    }

    private static let stack = TestHouse.stack

    @Test("with the second variant the tag is an index; the first one's manifest stays, and so does the index")
    func second() async throws {
        let house = try await TestHouse(architectures: [.amd64, .arm64])
        let stack = try StackName(Self.stack)
        try await house.importRootfs("1")
        try await house.promote("1")
        let amd64 = try await house.base("1")
        #expect(amd64?.mediaType == .ociManifest)
        #expect(try await house.base("1", .any) == amd64, "one variant is no index")
        let hash = try await house.upload("app", .droplet("app")).hash
        let before = try await house.image("app", hash)

        try await house.importRootfs("1", architecture: .arm64)
        var digests: [MediaTypeFamily: Digest] = [:]
        for family in MediaTypeFamily.allCases {
            let index = try #require(try await house.base("current", .all(family)))
            #expect(index.mediaType == (family == .oci ? .ociIndex : .dockerManifestList))
            digests[family] = index.digest
            #expect(try await house.base("1", .all(family)) == index)
            let manifests = try Index(json: try JSONValue(parsing: index.bytes)).manifests
            #expect(manifests.count == 2)
            for manifest in manifests {
                let found = try await house.bases().manifest(.digest(manifest.digest), .any)
                #expect(found?.mediaType == family.manifest && manifest.mediaType == family.manifest)
            }
        }
        #expect(try await house.base("1") == amd64, "who takes no index gets the first one's")
        #expect(try await house.image("app", hash) == before)
        // After a restart, and where the programs for one architecture are no longer given.
        for architectures in [[Architecture.amd64, .arm64], [.amd64]] {
            let again = try await TestHouse(store: house.store, architectures: architectures)
            for (family, digest) in digests {
                #expect(try await again.bases().manifest(.digest(digest), .any)?.digest == digest)
                #expect(try await again.base("1", .all(family))?.digest == digest)
            }
        }
        #expect(try await house.bases().manifest(.digest(Digest.of([])), .any) == nil)
        try await house.importRootfs("2")
        try await house.promote("2")
        try await house.images.remove(stack, try VersionName("1"))
        for digest in digests.values {
            #expect(try await house.bases().manifest(.digest(digest), .any) == nil, "it goes with its version")
        }
    }

    @Test("a droplet's image has its own architecture's layers; without that variant it says what is missing")
    func droplets() async throws {
        let house = try await TestHouse(architectures: [.amd64, .arm64])
        try await house.importRootfs("1")
        try await house.promote("1")
        let hash = try await house.upload("app", .droplet("app"), architecture: .arm64).hash
        let error = await #expect(throws: ImageError.self) { try await house.image("app", hash) }
        #expect(error?.description.contains("no variant for arm64") == true)
        #expect(
            try await house.app(try DropletGUID("app")).tags(after: nil, limit: 100) == [],
            "a tag that has no image is not offered")
        let variant = try await house.importRootfs("1", architecture: .arm64)
        let image = try await house.image("app", hash)
        let manifest = try Manifest(json: try JSONValue(parsing: image.manifest))
        #expect(manifest.layers.first?.digest == variant.layers.first?.digest)
        #expect(String(decoding: image.config, as: UTF8.self).contains(#""architecture":"arm64""#))
        #expect(try await house.app(try DropletGUID("app")).tags(after: nil, limit: 100) == [hash, "\(hash)-1"])
    }
}
