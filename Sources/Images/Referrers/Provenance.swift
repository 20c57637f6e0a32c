import Droplets
import JSON
import Layers
import OCI
import Packages
import Rootfs
import Signatures

/// How an image was made: an in-toto statement (version 1) with SLSA provenance (version 1). A pure function.
enum Provenance {
    static let predicateType = "https://slsa.dev/provenance/v1"
    /// The type of build that composes a droplet and a rootfs version; Images.docc describes it.
    private static let buildType = "\(SPDXDocument.space)/compose/v1"
    private static let builder = SPDXDocument.space

    /// - Parameter rootfs: the version that the recipe was made for.
    static func statement(
        for image: ComposedImage, _ recipe: Recipe, _ droplet: DropletContent, on rootfs: RootfsVersion
    ) -> [UInt8] {
        var dependencies = [
            dependency("droplet", droplet.digest),
            // Always the OCI manifest's digest, as in the image's annotation `base.digest`.
            dependency("rootfs", composeBase(recipe, .oci).manifestDigest),
            dependency("rootfs source", rootfs.source),
        ]
        dependencies += recipe.rootfs.map { dependency("rootfs layer", $0.digest) }
        dependencies.append(dependency("lifecycle layer", recipe.lifecycle.digest))
        dependencies += recipe.delta.map { dependency("rootfs delta layer", $0.digest) }
        var parameters: JSONObject = [
            "architecture": .string(recipe.architecture.rawValue), "droplet": .string(droplet.digest.description),
            "mediaTypes": .string(recipe.family.rawValue), "rootfsVersion": .string(recipe.version.text),
            "stack": .string(recipe.stack.text),
        ]
        // What the droplet says itself is not verified, so it is a parameter and no resolved dependency.
        if !droplet.buildpacks.isEmpty {
            parameters["buildpacksByDroplet"] = .array(droplet.buildpacks.map(\.json))
        }
        if !droplet.staged.isEmpty { parameters["buildpacks"] = .array(droplet.staged.map(\.json)) }
        dependencies += droplet.staged.compactMap(dependency)
        let statement: JSONValue = [
            "_type": "https://in-toto.io/Statement/v1",
            "predicate": [
                "buildDefinition": [
                    "buildType": .string(buildType), "externalParameters": .object(parameters),
                    "internalParameters": [
                        "composerFormat": .integer(recipe.format.rawValue), "recipe": .string(recipe.id),
                    ],
                    "resolvedDependencies": .array(dependencies),
                ],
                "runDetails": ["builder": ["id": .string(builder)]],
            ],
            "predicateType": .string(predicateType),
            "subject": [
                [
                    "digest": ["sha256": .string(image.manifestDigest.hex)],
                    // The app is not named, since two apps with the same droplet have one image.
                    "name": .string("droplet \(droplet.digest.hex)"),
                ]
            ],
        ]
        return statement.canonicalBytes
    }

    /// nil for a buildpack of which no digest is known.
    private static func dependency(_ buildpack: StagedBuildpack) -> JSONValue? {
        let digest: JSONObject
        switch buildpack.source {
        case nil: return nil
        case .archive(let archive): digest = [archive.algorithm.rawValue: .string(archive.hex)]
        case .commit(let commit): digest = ["gitCommit": .string(commit)]
        }
        var members: JSONObject = [
            "digest": .object(digest), "name": .string("buildpack \(buildpack.name)"),
        ]
        if !buildpack.version.isEmpty { members["annotations"] = ["version": .string(buildpack.version)] }
        return .object(members)
    }

    private static func dependency(_ name: String, _ digest: Digest) -> JSONValue {
        ["digest": .object([digest.algorithm.rawValue: .string(digest.hex)]), "name": .string(name)]
    }
}

/// A signed statement (DSSE 1.0).
enum Envelope {
    /// - Throws: `SignatureError.signing`.
    static func bytes(of payload: [UInt8], type: MediaType, signedBy key: SigningKey) throws(SignatureError)
        -> [UInt8]
    {
        let signature = try key.signature(of: preAuthenticationEncoding(payload, type))
        let json: JSONValue = [
            "payload": .string(Base64.encode(payload)), "payloadType": .string(type.text),
            "signatures": [
                ["keyid": .string(key.id), "sig": .string(Base64.encode(signature))]
            ],
        ]
        return json.canonicalBytes
    }

    /// The bytes to sign: the payload with its type and both lengths (DSSE 1.0, "PAE").
    static func preAuthenticationEncoding(_ payload: [UInt8], _ type: MediaType) -> [UInt8] {
        Array("DSSEv1 \(type.text.utf8.count) \(type.text) \(payload.count) ".utf8) + payload
    }
}
