import OCI

/// A package's URL (package-url specification), as vulnerability scanners and policy engines know it.
package struct PackageURL {
    package let text: String

    /// - Returns: nil if the rootfs has no package manager.
    package init?(_ package: InstalledPackage, _ manager: PackageList.Manager, of distribution: Distribution) {
        let type: String
        switch manager {
        case .dpkg: type = "deb"
        case .apk: type = "apk"
        case .none: return nil
        }
        text =
            "pkg:\(type)/\(Self.encoded(distribution.id))/\(Self.encoded(package.name))@\(Self.encoded(package.version))"
            + "?arch=\(Self.encoded(package.architecture))&distro=\(Self.encoded(distribution.description))"
    }

    /// The text with everything but unreserved characters and colons percent-encoded.
    private static func encoded(_ text: String) -> String { PercentEncoding.encode(text, allowing: ":") }
}
