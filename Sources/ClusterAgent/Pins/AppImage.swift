package import OCI

/// An image of an app's droplet in this registry, as a pod or a template names it.
package struct AppImage: Hashable, Sendable {
    /// The repository's last component: the droplet's guid.
    package let guid: String
    /// nil if the reference names none.
    package let tag: String?
    /// nil if the reference is not pinned.
    package let digest: Digest?

    package init(guid: String, tag: String?, digest: Digest?) {
        (self.guid, self.tag, self.digest) = (guid, tag, digest)
    }
}

/// How the clusters' nodes call the registry: an image is one of ours if its reference begins so.
package struct RegistryNames: Hashable, Sendable {
    /// `HOST[:PORT]`, in lower case.
    package let addresses: Set<String>

    /// - Parameter addresses: `HOST[:PORT]`, also of mirrors under whose names images of this registry are pulled.
    package init(_ addresses: some Sequence<String>) {
        self.addresses = Set(addresses.map { $0.lowercased() })
    }

    /// Reads an image's reference: `HOST[:PORT]/cloudfoundry/GUID[:TAG][@DIGEST]` (distribution's reference grammar).
    /// - Returns: nil for images of other registries, and of other repositories of this one.
    package func appImage(_ reference: String) -> AppImage? {
        guard let slash = reference.firstIndex(of: "/"),
            addresses.contains(reference[..<slash].lowercased())
        else { return nil }
        var rest = reference[reference.index(after: slash)...]
        var digest: Digest?
        if let at = rest.firstIndex(of: "@") {
            guard let parsed = try? Digest(parsing: rest[rest.index(after: at)...]) else { return nil }
            digest = parsed
            rest = rest[..<at]
        }
        var tag: String?
        if let colon = rest.lastIndex(of: ":") {
            guard let parsed = try? Tag(parsing: rest[rest.index(after: colon)...]) else { return nil }
            tag = parsed.text
            rest = rest[..<colon]
        }
        let parts = rest.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0] == "cloudfoundry", (try? RepositoryName(parsing: rest)) != nil else {
            return nil
        }
        // A name without tag and digest means this tag, to every client.
        if tag == nil, digest == nil { tag = "latest" }
        return AppImage(guid: String(parts[1]), tag: tag, digest: digest)
    }
}

/// What a container's status says that it runs: `imageID`. Its form is the container runtime's own.
package enum RunningImage: Hashable, Sendable {
    /// The digest of a manifest or an index; which repository stands before it means nothing, since runtimes name any
    /// that they pulled the same content from.
    case manifest(Digest)
    /// The digest of the image's config.
    case config(Digest)
    /// A digest that may be either.
    case either(Digest)

    /// - Parameter imageID: containerd writes `NAME@DIGEST`, or a config's `sha256:HEX` for what it has no name of;
    ///   CRI-O writes a config's 64 digits, or `NAME@DIGEST`; cri-dockerd writes `docker-pullable://NAME@DIGEST` or
    ///   `docker://DIGEST` of a config.
    /// - Returns: nil for a form that is not known, and for none at all.
    package init?(imageID: String) {
        var text = imageID[...]
        var isDocker = false
        for scheme in ["docker-pullable://", "docker://"] where text.hasPrefix(scheme) {
            text = text.dropFirst(scheme.count)
            isDocker = scheme == "docker://"
        }
        if let at = text.lastIndex(of: "@") {
            guard let digest = try? Digest(parsing: text[text.index(after: at)...]) else { return nil }
            self = .manifest(digest)
        } else if let digest = try? Digest(parsing: text) {
            self = isDocker ? .config(digest) : .either(digest)
        } else if text.utf8.count == 64, let digest = try? Digest(parsing: "sha256:" + text) {
            self = .config(digest)
        } else {
            return nil
        }
    }

    package var digest: Digest {
        switch self {
        case .manifest(let digest), .config(let digest), .either(let digest): digest
        }
    }
}
