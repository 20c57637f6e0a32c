public import Rootfs

/// Whose app a droplet is, as its uploader says.
public struct DropletOwner: Hashable, Sendable {
    /// The organization's name or guid, 1 to 255 bytes without control characters; nil if nobody said it.
    public let org: String?
    /// Likewise the space's.
    public let space: String?

    public static let unknown = DropletOwner(known: nil, nil)

    /// - Throws: `ImageError.invalidName`.
    public init(org: String?, space: String?) throws(ImageError) {
        if let org, !Self.isName(org) { throw .invalidName(what: "name of an organization", text: org) }
        if let space, !Self.isName(space) { throw .invalidName(what: "name of a space", text: space) }
        self.init(known: org, space)
    }

    private init(known org: String?, _ space: String?) {
        self.org = org
        self.space = space
    }

    private static func isName(_ text: String) -> Bool {
        (1...255).contains(text.utf8.count)
            && text.unicodeScalars.allSatisfy {
                ![.control, .lineSeparator, .paragraphSeparator].contains($0.properties.generalCategory)
            }
    }
}
