import Layers
import OCI
import Packages
import Rootfs

/// What a rootfs version is made of, as an SPDX document: a pure function of its record and its package list.
struct RootfsSBOM: Sendable {
    /// The rootfs' own element, for other documents to point to.
    static let element = "SPDXRef-rootfs"

    /// What others need to know to point to it.
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

extension SPDXDocument {
    /// An element for a layer.
    mutating func package(for layer: LayerReference, _ name: String) -> Package {
        Package(
            id: makeID("layer-\(layer.digest.hex.prefix(16))"), name: name, purpose: "ARCHIVE",
            sha256: layer.digest.hex, comment: "diffID \(layer.diffID)")
    }
}
