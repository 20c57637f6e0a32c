import OCI
import ObjectStore

/// Where a repository's facts are in the store.
struct RepositoryKeys: Sendable {
    let name: RepositoryName

    private var root: String { "repositories/\(name)/" }
    var manifests: String { "\(root)_manifests/" }
    var blobs: String { "\(root)_blobs/" }
    var tags: String { "\(root)_tags/" }

    func manifest(_ digest: Digest) throws(RegistryError) -> ObjectKey {
        try key("\(manifests)\(digest.algorithm.rawValue)/\(digest.hex)")
    }

    func blob(_ digest: Digest) throws(RegistryError) -> ObjectKey {
        try key("\(blobs)\(digest.algorithm.rawValue)/\(digest.hex)")
    }

    func tag(_ tag: Tag) throws(RegistryError) -> ObjectKey { try key("\(tags)\(tag)") }

    func referrers(_ subject: Digest) -> String {
        "\(root)_referrers/\(subject.algorithm.rawValue)-\(subject.hex)/"
    }

    func referrer(_ subject: Digest, _ digest: Digest) throws(RegistryError) -> ObjectKey {
        try key("\(referrers(subject))\(digest.algorithm.rawValue)-\(digest.hex)")
    }

    static let catalog = "catalog/"

    /// One marker for each repository, so that listing them scans nothing else.
    func marker() throws(RegistryError) -> ObjectKey { try key(Self.catalog + Self.escaped(name)) }

    /// A repository's name as one component: `!` is in no name and sorts before everything that is.
    static func escaped(_ name: RepositoryName) -> String { replace(name.text, "/", by: "!") }

    /// The repository of a marker.
    static func repository(of marker: String) -> RepositoryName? {
        try? RepositoryName(parsing: replace(marker, "!", by: "/"))
    }

    private static func replace(_ text: String, _ character: Unicode.Scalar, by other: Unicode.Scalar) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { scalars.append(scalar == character ? other : scalar) }
        return String(scalars)
    }

    private func key(_ text: String) throws(RegistryError) -> ObjectKey {
        do { return try ObjectKey(text) } catch { throw .store(error) }
    }
}

/// The digest in the last component of a key, as in `…/sha256/<hex>` or `…/sha256-<hex>`.
func digest(ending key: ObjectKey) -> Digest? {
    let parts = key.text.split(separator: "/")
    guard let last = parts.last else { return nil }
    if let dash = last.firstIndex(of: "-") {
        return try? Digest(parsing: "\(last[..<dash]):\(last[last.index(after: dash)...])")
    }
    guard parts.count >= 2 else { return nil }
    return try? Digest(parsing: "\(parts[parts.count - 2]):\(last)")
}
