package import OCI
package import ObjectStore
import Records

/// The keys of a repository's records.
package struct RepositoryKeys: Sendable {
    package let name: RepositoryName

    package init(name: RepositoryName) { self.name = name }

    private var root: String { "repositories/\(name)/" }
    package var manifests: String { "\(root)_manifests/" }
    package var blobs: String { "\(root)_blobs/" }
    package var tags: String { "\(root)_tags/" }

    package func manifest(_ digest: Digest) throws(RegistryError) -> ObjectKey {
        try key("\(manifests)\(digest.algorithm.rawValue)/\(digest.hex)")
    }

    package func blob(_ digest: Digest) throws(RegistryError) -> ObjectKey {
        try key("\(blobs)\(digest.algorithm.rawValue)/\(digest.hex)")
    }

    package func tag(_ tag: Tag) throws(RegistryError) -> ObjectKey { try key("\(tags)\(tag)") }

    package func referrers(_ subject: Digest) -> String {
        "\(root)_referrers/\(subject.algorithm.rawValue)-\(subject.hex)/"
    }

    package func referrer(_ subject: Digest, _ digest: Digest) throws(RegistryError) -> ObjectKey {
        try key("\(referrers(subject))\(digest.algorithm.rawValue)-\(digest.hex)")
    }

    package static let catalog = "catalog/"

    /// One marker for each repository, so that listing them scans nothing else.
    package func marker() throws(RegistryError) -> ObjectKey { try key(Self.catalog + Self.component(name.text)) }

    /// A repository name, or the beginning of one, as one key component: `!` occurs in no name and sorts before all
    /// characters that do.
    package static func component(_ name: String) -> String { replace(name, "/", by: "!") }

    /// The repository that a marker stands for.
    package static func repository(of marker: String) -> RepositoryName? {
        try? RepositoryName(parsing: text(of: marker))
    }

    /// The text that a marker, or the beginning of one, stands for.
    package static func text(of marker: String) -> String { replace(marker, "!", by: "/") }

    private static func replace(_ text: String, _ character: Unicode.Scalar, by other: Unicode.Scalar) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { scalars.append(scalar == character ? other : scalar) }
        return String(scalars)
    }

    private func key(_ text: String) throws(RegistryError) -> ObjectKey { try RegistryError.key(text) }
}

/// The digest in the last component of a key, as in `…/sha256/<hex>` or `…/sha256-<hex>`.
package func digest(ending key: ObjectKey) -> Digest? {
    let text = key.text.utf8
    guard let slash = text.lastIndex(of: UInt8(ascii: "/")) else { return nil }
    let last = text[text.index(after: slash)...]
    if let dash = last.firstIndex(of: UInt8(ascii: "-")) {
        return digest(last[..<dash], last[last.index(after: dash)...])
    }
    let folders = text[..<slash]
    let start = folders.lastIndex(of: UInt8(ascii: "/")).map { folders.index(after: $0) } ?? folders.startIndex
    return digest(folders[start...], last)
}

private func digest(_ algorithm: Substring.UTF8View, _ hex: Substring.UTF8View) -> Digest? {
    DigestAlgorithm(rawValue: String(Substring(algorithm))).flatMap { try? Digest($0, hex: String(Substring(hex))) }
}
