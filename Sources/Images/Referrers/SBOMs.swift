import Droplets
import Layers
import OCI
import Packages
import Rootfs

/// The packages and layers of a rootfs version, as an SPDX document: a pure function of its record and its package
/// list.
struct RootfsSBOM: Sendable {
    /// The id of the rootfs' element, to which other documents refer.
    static let element = "SPDXRef-rootfs"

    /// What a document needs to refer to this one.
    struct Reference: Hashable, Sendable {
        let namespace: String
        let digest: Digest
        let sha1: String
        let size: Int64
    }

    let bytes: [UInt8]
    let reference: Reference

    init(_ version: RootfsVersion, _ list: PackageList) {
        var document = SPDXDocument(
            name: "\(version.stack) \(version.version) \(version.architecture)", created: version.created)
        document.comment = Self.comment(list)
        document.add(
            SPDXDocument.Package(
                id: document.makeID("rootfs"), name: version.stack.text, version: version.version.text,
                purpose: "OPERATING_SYSTEM", sha256: version.source.hex,
                comment: "The checksum is that of the file that was imported. Its os-release says \(list.distribution)."
            ))
        document.relate(SPDXDocument.itself, "DESCRIBES", Self.element)
        for layer in version.layers {
            let package = document.package(for: layer, "rootfs layer")
            document.add(package)
            document.relate(Self.element, "CONTAINS", package.id)
        }
        for package in list.packages {
            let id = document.makeID("\(list.manager.rawValue)-\(package.name)-\(package.architecture)")
            let source = [package.source, package.sourceVersion].filter { !$0.isEmpty }.joined(separator: " ")
            document.add(
                SPDXDocument.Package(
                    id: id, name: package.name, version: package.version,
                    purl: PackageURL(package, list.manager, of: list.distribution)?.text,
                    sourceInfo: "built from source package: \(source)", license: package.license))
            document.relate(Self.element, "CONTAINS", id)
        }
        let (namespace, bytes) = document.finish("rootfs")
        var sha1 = SHA1Hasher()
        bytes.withUnsafeBytes { sha1.update($0) }
        self.bytes = bytes
        reference = Reference(
            namespace: namespace, digest: Digest.of(bytes), sha1: sha1.finish(), size: Int64(bytes.count))
    }

    private static func comment(_ list: PackageList) -> String {
        var text: String
        switch list.manager {
        case .none: text = "The rootfs has no package database."
        case .dpkg, .apk: text = "Packages as the database of \(list.manager.rawValue) has them."
        }
        if list.skipped > 0 { text += " \(list.skipped) of its entries can't be read and are missing here." }
        if !list.isComplete { text += " It is too large: packages are missing here." }
        return text
    }
}

/// The parts of a droplet's image, as an SPDX document that refers to the rootfs' own: a pure function.
enum ImageSBOM {
    private static let image = "SPDXRef-image"
    private static let droplet = "SPDXRef-droplet"
    private static let rootfs = "DocumentRef-rootfs"

    static func bytes(
        of image: ComposedImage, _ recipe: Recipe, _ content: DropletContent, on rootfs: RootfsSBOM.Reference
    ) -> [UInt8] {
        var document = SPDXDocument(
            name: "droplet \(content.digest.hex) on \(recipe.stack) \(recipe.version) \(recipe.architecture)",
            created: max(recipe.rootfsCreated, content.newestEntry))
        document.externalDocuments = [
            SPDXDocument.ExternalDocument(id: Self.rootfs, namespace: rootfs.namespace, sha1: rootfs.sha1)
        ]
        document.add(
            SPDXDocument.Package(
                id: document.makeID("image"), name: "droplet image", version: content.digest.hex, purpose: "CONTAINER",
                sha256: image.manifestDigest.hex, comment: "The checksum is the image's digest."))
        document.relate(SPDXDocument.itself, "DESCRIBES", Self.image)
        document.relate(Self.image, "CONTAINS", "\(Self.rootfs):\(RootfsSBOM.element)")
        document.add(
            SPDXDocument.Package(
                id: document.makeID("droplet"), name: "droplet", version: content.digest.hex, purpose: "APPLICATION",
                sha256: content.digest.hex, comment: "The checksum is that of the droplet as it was uploaded."))
        document.relate(Self.image, "CONTAINS", Self.droplet)
        for layer in content.layers {
            let package = document.package(for: layer, "droplet layer")
            document.add(package)
            document.relate(Self.image, "CONTAINS", package.id)
            document.relate(package.id, "GENERATED_FROM", Self.droplet)
        }
        for (layer, name) in [(recipe.lifecycle, "lifecycle layer")] + recipe.delta.map({ ($0, "rootfs delta layer") })
        {
            let package = document.package(for: layer, name)
            document.add(package)
            document.relate(Self.image, "CONTAINS", package.id)
        }
        for buildpack in content.staged {
            let id = document.makeID("buildpack-\(buildpack.name)")
            var sha256 = ""
            if case .archive(let digest)? = buildpack.source { sha256 = digest.hex }
            document.add(
                SPDXDocument.Package(
                    id: id, name: buildpack.name, version: buildpack.version, purpose: "APPLICATION", sha256: sha256,
                    comment: "A buildpack, as staging says\(sha256.isEmpty ? "" : "; the checksum is its archive's")."))
            document.relate(id, "BUILD_TOOL_OF", Self.droplet)
        }
        for buildpack in content.buildpacks {
            let id = document.makeID("buildpack-\(buildpack.name)")
            document.add(
                SPDXDocument.Package(
                    id: id, name: buildpack.name, version: buildpack.version, purpose: "APPLICATION",
                    comment: "A buildpack, as the droplet says; nothing here proves it."))
            document.relate(id, "BUILD_TOOL_OF", Self.droplet)
        }
        return document.finish("image").bytes
    }
}

extension SPDXDocument {
    /// Makes an element for a layer.
    mutating func package(for layer: LayerReference, _ name: String) -> Package {
        Package(
            id: makeID("layer-\(layer.digest.hex.prefix(16))"), name: name, purpose: "ARCHIVE",
            sha256: layer.digest.hex, comment: "diffID \(layer.diffID)")
    }
}
