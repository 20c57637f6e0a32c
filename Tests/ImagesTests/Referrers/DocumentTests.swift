import Droplets
import Foundation
import ImagesTesting
import JSON
import Layers
import OCI
import Packages
import Runtime
import Signatures
import TestSupport
import Testing

@testable import Images
@testable import Rootfs

@Suite("Documents about images")
struct DocumentTests {
    static let packages = [
        InstalledPackage(
            name: "libstdc++6", version: "12.2.0-14+deb12u1", architecture: "amd64", source: "gcc-12",
            sourceVersion: "12.2.0-14"),
        InstalledPackage(
            name: "libc6", version: "2.36-9+deb12u10", architecture: "amd64", source: "glibc", sourceVersion: ""),
        InstalledPackage(
            name: "mount", version: "1:2.38.1-5~x", architecture: "amd64", source: "mount", sourceVersion: "1"),
    ]

    static func version() throws -> RootfsVersion {
        let recipe = try Samples.recipe(family: .oci)
        return RootfsVersion(
            stack: recipe.stack, version: recipe.version, architecture: .amd64, layers: recipe.base,
            source: Digest.of("source".utf8), sourceSize: 1, uncompressedSize: 1, created: recipe.rootfsCreated,
            shell: "/bin/bash", system: "Debian", imported: Timestamp(seconds: 5), importedBy: "somebody",
            origin: RootfsOrigin())
    }

    static func list(_ manager: PackageList.Manager = .dpkg, _ packages: [InstalledPackage] = packages) -> PackageList {
        PackageList(
            manager: manager, distribution: Distribution(id: "debian", version: "12"), packages: packages)
    }

    static func droplet() throws -> DropletContent {
        let droplet = try Samples.droplet()
        return DropletContent(
            digest: droplet.digest, layers: droplet.layers, newestEntry: droplet.newestEntry,
            buildpacks: [StatedBuildpack(name: "ruby", version: "1.10.0"), StatedBuildpack(name: "ruby", version: "")])
    }

    static func referrers(
        _ family: MediaTypeFamily, delta: [LayerReference] = [], keys: [SigningKey] = [],
        _ droplet: DropletContent? = nil
    ) throws -> ImageReferrers {
        let droplet = try droplet ?? Self.droplet()
        let recipe = try Samples.recipe(family: family, delta: delta, format: droplet.staged.isEmpty ? .v1 : .v2)
        let version = try version()
        return try ImageReferrers.make(
            compose(recipe, droplet), ImageOrigin(recipe: recipe, droplet: droplet), on: version,
            RootfsSBOM(version, list()).reference, keys: keys)
    }

    @Test("the bytes are the same for ever", arguments: MediaTypeFamily.allCases)
    func golden(_ family: MediaTypeFamily) throws {
        let bill = RootfsSBOM(try Self.version(), Self.list())
        let referrers = try Self.referrers(family, keys: [try SigningKey.published()]).all
        let recipe = try Samples.recipe(family: family)
        let bases = try ImageReferrers.make(
            composeBase(recipe), ImageOrigin(recipe: recipe, droplet: nil), on: try Self.version(), bill.reference,
            keys: []
        ).listed
        let base = try #require(bases.first)
        // Policies pin these: another form of a document is one more, never an edit.
        #expect(bill.reference.digest.hex == "affff6fb3c679bc78fa8d8c44b3c58d9ddcf382f70e2689912737fee52540bb9")
        #expect(bill.reference.sha1 == "48dd7e31b7cd85f4f80ea86b8ce9ee334d36e854")
        let expected: [MediaTypeFamily: [String]] = [
            .oci: [
                "fc1189615d9e2f56027a8a800d80d222b035daeeea4da0b653880fed053a2f16",
                "affff6fb3c679bc78fa8d8c44b3c58d9ddcf382f70e2689912737fee52540bb9",
                "961e92080c13aaf929009088e689a0d986b3737b37d859057b0b7d5cfcc19cb6",
                "4fdc5b7bc1885cc3f619b8a012edd0f27320bb2379bb8479fd8671244f465836",
                "555cd2b371f4c912673f60df3ab617fc929c636fc0d232b904d5afd8804550e8",
                "bb0133da380c051e555fa5f1614804d847f068251f824b6a0d4c769697ce9101",
                "ba44884f32e9c41ed669134acf3d351dd2ef67c646e518b08860ac8ab0c86869",
                "91ea85c7e5dee0f9188ba21529e97fb272c11b2c46ec05e0bd5bdf5969f494d8",
            ],
            .docker: [
                "a8d540929c26485d4505356bab1d6a4eec57aaab2a73cc235f6f48a47eec95a9",
                "affff6fb3c679bc78fa8d8c44b3c58d9ddcf382f70e2689912737fee52540bb9",
                "dc6e5de661f27e2d13fce29f180da04ebc860a31674d2b8e33497edcefba97c3",
                "3bc74e5b5f0e08a3bcbebf46485a5bd68ac9d8385f402ea06779f48ccc5c8f44",
                "a3c50723d8861de43d5e623f5954a0d08e9acee97037490d5fd859756bc0b3ee",
                "f71e9a634fdbaa710115fc0ff743f1e99b55decef18dd53b3fb86145d06c3988",
                "7c01ab84c2e614efb8f09e81c595118cacf451ec365b7697a3eb445ed0e594eb",
                "7d31e86e2bee02f30efb33d0de400d63f75724e0d2c90d78a74d5817d73d77ed",
            ],
        ]
        let made = ([base] + referrers).flatMap { [$0.descriptor.digest.hex, $0.documentDigest.hex] }
        #expect(made == expected[family])
    }

    @Test("SBOMs keep to SPDX 2.3")
    func spdx() throws {
        let licensed = InstalledPackage(
            name: "musl", version: "1.2.5-r0", architecture: "x86_64", source: "musl", sourceVersion: "",
            license: "MIT AND \"quoted\"")
        let alike = ["a+b", "a-b", "a.b", "a_b"].map {
            InstalledPackage(name: $0, version: "1", architecture: "all", source: $0, sourceVersion: "1")
        }
        let lists = [
            Self.list(), Self.list(.none, []), Self.list(.apk, [licensed, licensed]), Self.list(.dpkg, alike),
            PackageList(
                manager: .dpkg, distribution: Distribution(id: "linux", version: ""), packages: Self.packages,
                skipped: 3,
                isComplete: false),
        ]
        for list in lists {
            let bill = RootfsSBOM(try Self.version(), list)
            #expect(try SPDXRules(bill.bytes).problems == [])
            let packages = try JSONValue(parsing: bill.bytes)["packages"]?.array ?? []
            #expect(packages.count == list.packages.count + 2)
        }
        for family in MediaTypeFamily.allCases {
            for delta in [[], [try Samples.layer("delta")]] {
                let bill = try #require(try Self.referrers(family, delta: delta).all.first?.document)
                #expect(try SPDXRules(bill).problems == [])
            }
        }
    }

    @Test("a package has the URL that scanners know it by")
    func purls() throws {
        let json = try JSONValue(parsing: RootfsSBOM(try Self.version(), Self.list()).bytes)
        let urls = (json["packages"]?.array ?? []).compactMap {
            $0["externalRefs"]?.array?.first?["referenceLocator"]?.string
        }
        #expect(
            urls == [
                "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
                "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12",
                "pkg:deb/debian/mount@1:2.38.1-5~x?arch=amd64&distro=debian-12",
            ])
        #expect(json["creationInfo"]?["created"] == "2026-01-01T00:00:00Z", "the rootfs' date, no clock's")
    }

    @Test("the same content gives the same document, and another one has another name")
    func namespaces() throws {
        let one = RootfsSBOM(try Self.version(), Self.list())
        let two = RootfsSBOM(try Self.version(), Self.list(.dpkg, Self.packages.reversed()))
        let other = RootfsSBOM(try Self.version(), Self.list(.dpkg, Array(Self.packages.dropLast())))
        #expect(one.bytes == two.bytes)
        #expect(one.reference.namespace != other.reference.namespace)
    }

    @Test("an image's SBOM points to the rootfs' own by name and checksum, and has the droplet's digest and layers")
    func image() throws {
        let delta = try Samples.layer("delta")
        let droplet = try Self.droplet()
        let document = try #require(try Self.referrers(.oci, delta: [delta]).all.first?.document)
        let json = try JSONValue(parsing: document)
        let rootfs = RootfsSBOM(try Self.version(), Self.list()).reference
        let other = json["externalDocumentRefs"]?.array?.first
        #expect(other?["spdxDocument"]?.string == rootfs.namespace)
        #expect(other?["checksum"]?["checksumValue"]?.string == rootfs.sha1)
        let digests = (json["packages"]?.array ?? []).compactMap {
            $0["checksums"]?.array?.first?["checksumValue"]?.string
        }
        let recipe = try Samples.recipe(family: .oci, delta: [delta])
        #expect(
            digests
                == [compose(recipe, droplet).manifestDigest.hex, droplet.digest.hex, droplet.layers[0].digest.hex]
                + [recipe.lifecycle.digest.hex, delta.digest.hex])
        let related = (json["relationships"]?.array ?? []).compactMap { $0["relatedSpdxElement"]?.string }
        #expect(related.contains("DocumentRef-rootfs:SPDXRef-rootfs"))
    }

    @Test("provenance names the image, and everything it is made of by digest", arguments: MediaTypeFamily.allCases)
    func provenance(_ family: MediaTypeFamily) throws {
        let delta = try Samples.layer("delta")
        let droplet = try Self.droplet()
        let recipe = try Samples.recipe(family: family, delta: [delta])
        let image = compose(recipe, droplet)
        let plain = try #require(try Self.referrers(family, delta: [delta]).listed.last)
        let json = try JSONValue(parsing: try #require(plain.document))
        #expect(plain.descriptor.artifactType == .inToto)
        #expect(json["_type"] == "https://in-toto.io/Statement/v1")
        #expect(json["predicateType"] == "https://slsa.dev/provenance/v1")
        #expect(json["subject"]?.array?.first?["digest"]?["sha256"]?.string == image.manifestDigest.hex)
        let definition = json["predicate"]?["buildDefinition"]
        let dependencies = (definition?["resolvedDependencies"]?.array ?? []).map {
            "\($0["name"]?.string ?? "") \($0["digest"]?["sha256"]?.string ?? "")"
        }
        let base = composeBase(try Samples.recipe(family: .oci)).manifestDigest
        #expect(
            dependencies == [
                "droplet \(droplet.digest.hex)", "rootfs \(base.hex)", "rootfs source \(Digest.of("source".utf8).hex)",
                "rootfs layer \(recipe.rootfs[0].digest.hex)", "lifecycle layer \(recipe.lifecycle.digest.hex)",
                "rootfs delta layer \(delta.digest.hex)",
            ])
        #expect(definition?["externalParameters"]?["stack"] == "cisternfs")
        #expect(definition?["externalParameters"]?["buildpacksByDroplet"]?.array?.count == 2)
        #expect(json["predicate"]?["runDetails"]?["builder"]?["id"]?.string?.hasPrefix("https://") == true)
    }

    @Test("what staging says of buildpacks are dependencies with digests, apart from the droplet's word")
    func staged() throws {
        let sample = try Self.droplet()
        let droplet = DropletContent(
            digest: sample.digest, layers: sample.layers, newestEntry: sample.newestEntry,
            buildpacks: sample.buildpacks, staged: Samples.staged)
        let listed = try Self.referrers(.oci, droplet).listed
        let statement = try JSONValue(parsing: try #require(listed.last?.document))
        let definition = statement["predicate"]?["buildDefinition"]
        let dependencies = (definition?["resolvedDependencies"]?.array ?? []).filter {
            $0["name"]?.string?.hasPrefix("buildpack ") == true
        }
        #expect(
            dependencies == [
                [
                    "name": "buildpack nodejs_buildpack", "annotations": ["version": "1.8.2"],
                    "digest": ["sha256": .string(Digest.of("nodejs".utf8).hex)],
                ],
                [
                    "name": "buildpack custom",
                    "digest": ["gitCommit": .string(String(repeating: "0a", count: 20))],
                ],
            ])
        #expect(definition?["externalParameters"]?["buildpacks"] == .array(Samples.staged.map(\.json)))
        #expect(definition?["externalParameters"]?["buildpacksByDroplet"]?.array?.count == 2)
        let bill = try #require(listed.first?.document)
        #expect(try SPDXRules(bill).problems == [])
        let packages = (try JSONValue(parsing: bill)["packages"]?.array ?? []).filter {
            $0["comment"]?.string?.contains("staging says") == true
        }
        #expect(packages.compactMap { $0["name"]?.string } == ["nodejs_buildpack", "custom", "local"])
        #expect(
            packages.first?["checksums"]?.array?.first?["checksumValue"]?.string == Digest.of("nodejs".utf8).hex)
    }

    @Test("a droplet of an earlier Cistern says nothing of buildpacks")
    func noBuildpacks() throws {
        let document = try #require(try Self.referrers(.oci, try Samples.droplet()).listed.last?.document)
        let definition = try JSONValue(parsing: document)["predicate"]?["buildDefinition"]
        #expect(definition?["externalParameters"]?["buildpacksByDroplet"] == nil)
    }

    @Test("with keys an envelope of each is listed, and the statement itself stays known")
    func envelopes() throws {
        let keys = [try SigningKey.published(1), try SigningKey.published(2)]
        let plain = try #require(try Self.referrers(.oci).listed.last)
        let signed = try Self.referrers(.oci, keys: keys)
        #expect(signed.listed.map(\.descriptor.artifactType) == [.spdx, .dsse, .dsse])
        #expect(signed.all.contains(plain) && !signed.listed.contains(plain))
        for (referrer, key) in zip(signed.listed.dropFirst(), keys) {
            let json = try JSONValue(parsing: try #require(referrer.document))
            #expect(json["payloadType"] == "application/vnd.in-toto+json")
            let payload = Data(base64Encoded: json["payload"]?.string ?? "").map(Array.init)
            #expect(payload == plain.document)
            let signature = try #require(json["signatures"]?.array?.first)
            #expect(signature["keyid"]?.string == key.id)
            let bytes = Data(base64Encoded: signature["sig"]?.string ?? "").map(Array.init)
            let signable = Envelope.preAuthenticationEncoding(try #require(plain.document), .inToto)
            #expect(try bytes == key.signature(of: signable))
        }
        #expect(try Self.referrers(.oci, keys: keys).all == signed.all, "signing twice gives the same")
    }

    @Test("what is signed is what DSSE 1.0 says")
    func encoding() throws {
        #expect(
            String(decoding: Envelope.preAuthenticationEncoding(Array("hello world".utf8), .inToto), as: UTF8.self)
                == "DSSEv1 28 application/vnd.in-toto+json 11 hello world")
    }

    @Test("a referrer's manifest is an artifact of the image specification", arguments: MediaTypeFamily.allCases)
    func manifests(_ family: MediaTypeFamily) throws {
        let image = compose(try Samples.recipe(family: family), try Self.droplet())
        for referrer in try Self.referrers(family, keys: [try SigningKey.published()]).all {
            let manifest = try Manifest(json: JSONValue(parsing: referrer.manifest))
            #expect(manifest.mediaType == .ociManifest && manifest.artifactType == referrer.descriptor.artifactType)
            #expect(manifest.config.mediaType == .ociEmpty && manifest.config.size == 2)
            #expect(manifest.config.digest == Digest.of("{}".utf8))
            #expect(manifest.layers.map(\.digest) == [referrer.documentDigest])
            #expect(manifest.layers[0].mediaType == manifest.artifactType)
            #expect(manifest.layers[0].size == Int64(referrer.document?.count ?? 0))
            #expect(manifest.subject?.digest == image.manifestDigest && manifest.subject?.mediaType == image.mediaType)
            #expect(manifest.subject?.size == Int64(image.manifest.count))
            #expect(manifest.annotations == referrer.descriptor.annotations)
            #expect(referrer.descriptor.digest == Digest.of(referrer.manifest))
            #expect(referrer.documentDigest == Digest.of(referrer.document ?? []))
        }
    }
}
