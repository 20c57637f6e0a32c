import Archive
import Blobs
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

@Suite("Composition")
struct CompositionTests {
    @Test("format 1 makes the same bytes for ever", arguments: MediaTypeFamily.allCases)
    func golden(_ family: MediaTypeFamily) throws {
        let image = compose(try Samples.recipe(family: family), try Samples.droplet())
        let base = composeBase(try Samples.recipe(family: family))
        // These digests are a promise to images that run: a change here is a new composer format, never an edit.
        let expected: [MediaTypeFamily: (String, String, String)] = [
            .oci: (
                "79e9cbe8de351ac78a6277e490b4a252e7689546ebe7960d0f9afa6842519c89",
                "5124ec398df1b35467f07253ad6cb95bcb19b73610232de03b8ad584e414453d",
                "c831dcf65a512e668c6be42d334f5ecf6fa374623711c12ff86a1b29d18903df"
            ),
            .docker: (
                "508d8eb4b46c636be80821e273a7ea35f40fe4b507a2b37ff00f09a3eecbafb0",
                "5124ec398df1b35467f07253ad6cb95bcb19b73610232de03b8ad584e414453d",
                "444dcaca8becdfb3872fda487a6e5bb6fcf8576d323564a2c19a25924900431d"
            ),
        ]
        let golden = try #require(expected[family])
        #expect(image.manifestDigest.hex == golden.0)
        #expect(image.configDigest.hex == golden.1)
        #expect(base.manifestDigest.hex == golden.2)
    }

    @Test("format 2 makes the same bytes for ever", arguments: MediaTypeFamily.allCases)
    func golden2(_ family: MediaTypeFamily) throws {
        let image = compose(
            try Samples.recipe(family: family, format: .v2), try Samples.droplet(staged: Samples.staged))
        // As for format 1: never edited.
        let expected: [MediaTypeFamily: [String]] = [
            .oci: [
                "ef95c8a8ff23f6073b55a38f4817c9be3b3fbd13f49fe473a9e66cac40aa6c52",
                "4a9d1a5e9e8b2c6729133ee500ee5d11b67617076f934127218f75eff4e8a436",
            ],
            .docker: [
                "f57767a9d994e8ddabaaf016d61775cb995f1ab8e96d456739a62772f72a9bb9",
                "4a9d1a5e9e8b2c6729133ee500ee5d11b67617076f934127218f75eff4e8a436",
            ],
        ]
        #expect([image.manifestDigest.hex, image.configDigest.hex] == expected[family])
    }

    @Test(
        "a program's lifecycle layer is what it always was; one that answers to the name shell has that name, too",
        arguments: [
            ("launch 1", "c726467052b7fca8868505693ccce57f3464af542c003650ad140dba71f1e9f9"),
            (
                "launch 1: shell [APP_DIR [COMMAND]]",
                "eac85dc34eccb130050d147146ff5b6cc4e4416e98590045a32247ced58f3760"
            ),
        ])
    func lifecycleLayer(launch: String, diffID: String) async throws {
        let store = MemoryObjectStore()
        let blobs = BlobStore(store: store, now: { 1_800_000_000_000_000_000 })
        let layer = try await LifecycleLayer.install(launch: Array(launch.utf8), in: blobs, store: store).layer
        #expect(layer.diffID.hex == diffID)
    }

    @Test(
        "format 3 makes the same bytes for ever", arguments: MediaTypeFamily.allCases, [nil, "registry.example:5000"])
    func golden3(_ family: MediaTypeFamily, _ registry: String?) throws {
        let image = compose(
            try Samples.recipe(family: family, format: .v3, registry: registry),
            try Samples.droplet(staged: registry == nil ? [] : Samples.staged))
        // As for format 1: never edited.
        let expected: [MediaTypeFamily: [String?: [String]]] = [
            .oci: [
                nil: [
                    "0c639599b8d068da9f98cba1e52b5ce1cf94fb2a417909d88f88772047be4415",
                    "29bc372623ca4d78dd71e7ff3fb87314ff6d2e1d17de5cc6f6b7391bf6dd2c91",
                ],
                "registry.example:5000": [
                    "e727fab0cbbc5c8eef930aca4fa940637195699ca0bd2c6abafb2b5fb1cb68ec",
                    "9e528d0abac474f15f06069363c24027ca4b4635a96639c4b812ecc4ebd5bb07",
                ],
            ],
            .docker: [
                nil: [
                    "bbc5ce08baf4e9faf5d79c96e6982f13c49775c20ae4c03fc7455c455f6c5f13",
                    "29bc372623ca4d78dd71e7ff3fb87314ff6d2e1d17de5cc6f6b7391bf6dd2c91",
                ],
                "registry.example:5000": [
                    "bfc88fedafe496f1f5eac2ea3bedf09143bf6cda31a535eda1edfccd3f295a25",
                    "9e528d0abac474f15f06069363c24027ca4b4635a96639c4b812ecc4ebd5bb07",
                ],
            ],
        ]
        #expect([image.manifestDigest.hex, image.configDigest.hex] == expected[family]?[registry])
    }

    @Test("format 3 names the base with the registry, or not at all, and the buildpacks where they are known")
    func format3() throws {
        func labels(
            _ format: ComposerFormat, _ staged: [StagedBuildpack] = [], registry: String? = nil
        ) throws -> ByName<String> {
            let recipe = try Samples.recipe(family: .oci, format: format, registry: registry)
            let image = compose(recipe, try Samples.droplet(staged: staged))
            return try Manifest(json: JSONValue(parsing: image.manifest)).annotations
        }
        let name = "org.opencontainers.image.base.name"
        var first = try labels(.v1)
        #expect(first[name] == "cistern/cisternfs:1")
        first[name] = nil
        #expect(try labels(.v3) == first)
        first[name] = "registry.example/cistern/cisternfs:1"
        #expect(try labels(.v3, registry: "registry.example") == first)
        let label = try labels(.v2, Samples.staged)["org.cloudfoundry.buildpacks"]
        let third = try labels(.v3, Samples.staged)
        #expect(label != nil && third["org.cloudfoundry.buildpacks"] == label)
    }

    @Test("format 2 adds the buildpacks' label, and nothing else")
    func buildpacksLabel() throws {
        func labels(_ format: ComposerFormat, _ staged: [StagedBuildpack]) throws -> ByName<String> {
            let image = compose(try Samples.recipe(family: .oci, format: format), try Samples.droplet(staged: staged))
            let config = try ImageConfig(json: JSONValue(parsing: image.config)).execution.labels
            #expect(try Manifest(json: JSONValue(parsing: image.manifest)).annotations == config)
            return config
        }
        let first = try labels(.v1, Samples.staged)
        #expect(first == (try labels(.v1, [])), "format 1 knows no buildpacks")
        var second = try labels(.v2, Samples.staged)
        let removed = second.removeValue(forKey: "org.cloudfoundry.buildpacks")
        let label = try #require(removed)
        #expect(second == first)
        #expect(
            try JSONValue(parsing: Array(label.utf8)) == [
                [
                    "name": "nodejs_buildpack", "version": "1.8.2",
                    "source": .string(Digest.of("nodejs".utf8).description),
                ],
                ["name": "custom", "source": .string("git:" + String(repeating: "0a", count: 20))], ["name": "local"],
            ])
        #expect(try labels(.v2, [])["org.cloudfoundry.buildpacks"] == "[]", "no image is of both formats")
        for family in MediaTypeFamily.allCases {
            let bases = try [ComposerFormat.v1, .v2, .v3].map {
                composeBase(try Samples.recipe(family: family, format: $0)).served
            }
            #expect(bases.allSatisfy { $0 == bases[0] })
        }
    }

    @Test("an image's documents say what containers need to start the app")
    func documents() throws {
        let recipe = try Samples.recipe(family: .oci)
        let droplet = try Samples.droplet()
        let image = compose(recipe, droplet)
        let manifest = try Manifest(json: JSONValue(parsing: image.manifest))
        let config = try ImageConfig(json: JSONValue(parsing: image.config))
        let layers = recipe.rootfs + [recipe.lifecycle] + droplet.layers
        #expect(manifest.mediaType == .ociManifest)
        #expect(manifest.config.digest == image.configDigest)
        #expect(manifest.config.size == Int64(image.config.count))
        #expect(manifest.layers.map(\.digest) == layers.map(\.digest))
        #expect(manifest.layers.allSatisfy { $0.mediaType == .ociLayerGzip })
        #expect(config.diffIDs == layers.map(\.diffID))
        #expect(config.history.count == layers.count)
        #expect(config.platform == Platform(architecture: "amd64"))
        #expect(config.execution.user == "2000:2000")
        #expect(config.execution.workingDirectory == "/home/vcap/app")
        #expect(config.execution.entrypoint == ["/lifecycle/launch"])
        #expect(config.execution.environment.contains("HOME=/home/vcap/app"))
        #expect(config.execution.environment.contains("DEPS_DIR=/home/vcap/deps"))
        #expect(config.execution.exposedPorts == ["8080/tcp"])
        // The younger of the two dates, and the base.
        #expect(config.created == "2026-01-02T00:00:00Z")
        #expect(manifest.annotations["org.opencontainers.image.base.name"] == "cistern/cisternfs:1")
        #expect(image.configDigest == compose(try Samples.recipe(family: .docker), droplet).configDigest)
        #expect(
            manifest.annotations["org.opencontainers.image.base.digest"]
                == composeBase(recipe).manifestDigest.description)
    }

    @Test("delta layers lie on top, so that every chain below stays as it was")
    func delta() throws {
        let delta = try Samples.layer("delta")
        let image = compose(try Samples.recipe(family: .oci, delta: [delta]), try Samples.droplet())
        let manifest = try Manifest(json: JSONValue(parsing: image.manifest))
        let without = try Manifest(
            json: JSONValue(parsing: compose(try Samples.recipe(family: .oci), try Samples.droplet()).manifest))
        #expect(manifest.layers.dropLast() == without.layers[...])
        #expect(manifest.layers.last?.digest == delta.digest)
    }

    @Test("Docker's documents have Docker's media types, and zstd layers stay OCI's")
    func docker() throws {
        let image = compose(try Samples.recipe(family: .docker), try Samples.droplet())
        let manifest = try Manifest(json: JSONValue(parsing: image.manifest))
        #expect(image.mediaType == .dockerManifest)
        #expect(manifest.config.mediaType == .dockerConfig)
        #expect(manifest.layers.allSatisfy { $0.mediaType == .dockerLayerGzip })
        let zstd = compose(try Samples.recipe(family: .docker), try Samples.droplet(compression: .zstd))
        #expect(zstd.mediaType == .ociManifest)
    }

    @Test("one recipe has one id, whatever else differs another")
    func recipeIDs() throws {
        let recipe = try Samples.recipe(family: .oci)
        #expect(recipe.id == (try Samples.recipe(family: .oci)).id)
        #expect(recipe.id != (try Samples.recipe(family: .docker)).id)
        #expect(recipe.id != (try Samples.recipe(family: .oci, version: "2")).id)
        #expect(recipe.id != (try Samples.recipe(family: .oci, delta: [Samples.layer("delta")])).id)
    }
}
