package import Clusters
import Droplets
import Images
import OCI
import Rootfs

/// What runs or could start again, by the reports of all clusters.
package struct RunningSet: Sendable {
    let digests: Set<Digest>
    /// Tags of droplets' images, by the droplet's guid.
    private let tags: [String: Set<DropletTag>]
    /// Guids with tags that can't be read: nothing of such an app is removed.
    private let unreadable: Set<String>

    package init(_ clusters: [ClusterPins]) {
        self.init(digests: Set(clusters.flatMap(\.digests)), tags: clusters.flatMap(\.tags))
    }

    /// - Parameter texts: `<droplet guid>:<tag>` each.
    init(digests: Set<Digest>, tags texts: [String] = []) {
        self.digests = digests
        var tags: [String: Set<DropletTag>] = [:]
        var unreadable: Set<String> = []
        for text in texts {
            guard let colon = text.firstIndex(of: ":") else { continue }
            let guid = String(text[..<colon])
            if let tag = (try? Tag(parsing: text[text.index(after: colon)...])).flatMap(DropletTag.init) {
                tags[guid, default: []].insert(tag)
            } else {
                unreadable.insert(guid)
            }
        }
        self.tags = tags
        self.unreadable = unreadable
    }

    package var isEmpty: Bool { digests.isEmpty && tags.isEmpty && unreadable.isEmpty }

    /// Whether an image is known by the digest of its manifest, or of its config.
    func has(_ image: ComposedImage) -> Bool {
        digests.contains(image.manifestDigest) || digests.contains(image.configDigest)
    }

    func hasTag(of droplet: DropletRecord) -> Bool {
        let guid = droplet.guid.text
        return unreadable.contains(guid) || tags[guid]?.contains { $0.names(droplet) } ?? false
    }

    /// The apps that have a tag on a rootfs version, and those whose tags can't be read.
    func guids(taggedOn version: VersionName) -> Set<String> {
        unreadable.union(tags.filter { $0.value.contains { $0.version == version } }.keys)
    }

    /// Whether a tag names a droplet's image on a rootfs version.
    func hasTag(of droplet: DropletRecord, on version: VersionName) -> Bool {
        let guid = droplet.guid.text
        return unreadable.contains(guid)
            || tags[guid]?.contains { $0.version == version && $0.names(droplet) } ?? false
    }
}

extension DropletTag {
    fileprivate func names(_ droplet: DropletRecord) -> Bool {
        switch hash {
        case .sha256(let hex): droplet.hash == hex
        case .sha1(let hex): droplet.sha1 == hex
        }
    }
}
