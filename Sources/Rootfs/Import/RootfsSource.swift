public import OCI
public import Signatures

/// Where a rootfs comes from, and who vouches for it.
public struct RootfsSource: Sendable {
    /// What the bytes that come in are.
    public enum Form: String, Sendable, Hashable {
        /// A tar of the files.
        case tar
        /// A tar of an OCI layout.
        case oci
        /// What `docker save` writes.
        case docker
    }

    public var form: Form
    /// Of the image that is wanted: its manifest's, an index's that leads to it, or in a docker-archive its
    /// configuration's; nil: the only one that fits.
    public var digest: Digest?
    /// What the sender calls it: a file's name, or `docker://…` for what came from another registry.
    public var name: String?
    public var signature: DetachedSignature?
    /// Who may have signed it.
    public var trusted: TrustedKeys
    public var mustBeSigned: Bool

    public init(
        form: Form = .tar, digest: Digest? = nil, name: String? = nil, signature: DetachedSignature? = nil,
        trusted: TrustedKeys = TrustedKeys(), mustBeSigned: Bool = false
    ) {
        self.form = form
        self.digest = digest
        self.name = name
        self.signature = signature
        self.trusted = trusted
        self.mustBeSigned = mustBeSigned
    }

    /// What a name from another registry begins with.
    public static let registryScheme = "docker://"

    /// - Throws: `.untrusted` if it must be signed and is not.
    func checkIsSigned() throws(ImageError) {
        guard mustBeSigned, signature == nil else { return }
        throw .untrusted("it is not signed (--signature), and here it must be: \(trusted.description)")
    }

    /// What is written down of it.
    func origin(signedBy key: TrustedKey?) -> RootfsOrigin {
        let isRemote = form == .oci && name?.hasPrefix(Self.registryScheme) == true
        return RootfsOrigin(
            kind: isRemote ? .registry : RootfsOrigin.Kind(rawValue: form.rawValue), name: name, signedBy: key?.name)
    }
}
