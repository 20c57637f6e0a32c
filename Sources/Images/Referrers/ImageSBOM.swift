import Droplets
import OCI
import Packages
import Rootfs

/// What a droplet's image is made of, as an SPDX document that points to the rootfs' own: a pure function.
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
