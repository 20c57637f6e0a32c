import Droplets
import JSON
public import Layers
import OCI
package import ObjectStore
package import Records
public import Rootfs
public import Runtime

/// All that an image is made of besides the droplet. Immutable: `recipes/<id>`, where the id is the SHA-256 of the
/// canonical form.
public struct Recipe: Hashable, Sendable {
    /// The composer's format. A released format never changes; a better one gets a new number.
    public let format: ComposerFormat
    public let stack: StackName
    public let version: VersionName
    public let architecture: Architecture
    public let family: MediaTypeFamily
    /// The lowest layers, bottom up: the version's own, or those of an older version that `delta` turns into it.
    public let rootfs: [LayerReference]
    /// The version's own layers, bottom up, of which the base image consists.
    public let base: [LayerReference]
    /// The newest entry of the rootfs.
    public let rootfsCreated: Timestamp
    /// The absolute path of the rootfs' shell.
    public let shell: String
    public let lifecycle: LayerReference
    /// Layers on top of the droplet's that turn an older rootfs into this version.
    public let delta: [LayerReference]
    /// How nodes and clients called the registry when the recipe was made, HOST[:PORT]; nil if nobody had said that, and
    /// before format 3. It stays, so that an image is the same after the registry has got another name.
    public let registry: String?
    /// The hexadecimal SHA-256 of the canonical form.
    public let id: String

    public init(
        format: ComposerFormat, stack: StackName, version: VersionName, architecture: Architecture,
        family: MediaTypeFamily, rootfs: [LayerReference], base: [LayerReference]? = nil, rootfsCreated: Timestamp,
        shell: String, lifecycle: LayerReference, delta: [LayerReference] = [], registry: String? = nil
    ) {
        self.registry = registry
        self.format = format
        self.stack = stack
        self.version = version
        self.architecture = architecture
        self.family = family
        self.rootfs = rootfs
        self.base = base ?? rootfs
        self.rootfsCreated = rootfsCreated
        self.shell = shell
        self.lifecycle = lifecycle
        self.delta = delta
        var json: JSONObject = [
            "architecture": .string(architecture.rawValue), "delta": .array(delta.map(\.json)),
            "family": .string(family.rawValue), "format": .integer(format.rawValue), "lifecycle": lifecycle.json,
            "rootfs": .array(rootfs.map(\.json)), "rootfsCreated": .integer(rootfsCreated.seconds),
            "shell": .string(shell), "stack": .string(stack.text), "version": .string(version.text),
        ]
        if self.base != rootfs { json["base"] = .array(self.base.map(\.json)) }
        if let registry { json["registry"] = .string(registry) }
        self.bytes = JSONValue.object(json).canonicalBytes
        self.id = Digest.of(bytes).hex
    }

    /// Whether both are of the same version and make images of the same parts.
    func hasParts(of other: Recipe) -> Bool {
        func parts(_ recipe: Recipe) -> [LayerReference] {
            recipe.rootfs + recipe.base + [recipe.lifecycle] + recipe.delta
        }
        return (stack, version, architecture, family) == (other.stack, other.version, other.architecture, other.family)
            && (shell, rootfsCreated, rootfs.count, base.count, delta.count)
                == (other.shell, other.rootfsCreated, other.rootfs.count, other.base.count, other.delta.count)
            && parts(self) == parts(other)
    }

    /// The canonical form, as stored.
    let bytes: [UInt8]

    static let folder = "recipes/"

    static func key(_ id: String) throws(ImageError) -> ObjectKey { try ImageError.key(folder + id) }
}

extension Recipe: Record {
    package static var namesContent: Bool { true }

    /// Decodes a recipe. Bytes that match the key's digest but can't be decoded are from a newer version of Cistern.
    package static func decode(_ bytes: [UInt8], at key: ObjectKey) throws(RecordFault) -> Recipe {
        let json = try? JSONValue(parsing: bytes)
        if let recipe = json.flatMap(Recipe.init(json:)), recipe.bytes == bytes, key.text == folder + recipe.id {
            return recipe
        }
        guard key.text == folder + Digest.of(bytes).hex else { throw .damaged }
        throw .newer(format: json?["format"]?.integer)
    }

    package func encode(over old: [UInt8]?, at key: ObjectKey) -> [UInt8] { bytes }

    private init?(json: JSONValue) {
        guard let format = json["format"]?.integer.flatMap({ ComposerFormat(rawValue: Int($0)) }),
            let stack = json["stack"]?.string.flatMap({ try? StackName($0) }),
            let version = json["version"]?.string.flatMap({ try? VersionName($0) }),
            let architecture = json["architecture"]?.string.flatMap({ try? Architecture($0) }),
            let family = json["family"]?.string.flatMap(MediaTypeFamily.init(rawValue:)),
            let rootfs = json["rootfs"]?.elements(LayerReference.init(json:)),
            let created = json["rootfsCreated"]?.integer, let shell = json["shell"]?.string,
            let lifecycle = json["lifecycle"].flatMap(LayerReference.init(json:)),
            let delta = json["delta"]?.elements(LayerReference.init(json:))
        else { return nil }
        let base = json["base"]?.elements(LayerReference.init(json:))
        self.init(
            format: format, stack: stack, version: version, architecture: architecture, family: family, rootfs: rootfs,
            base: base, rootfsCreated: Timestamp(seconds: created), shell: shell, lifecycle: lifecycle, delta: delta,
            registry: json["registry"]?.string)
    }
}
