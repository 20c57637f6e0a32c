/// A package's URL (package-url specification), as vulnerability scanners and policy engines know it.
package struct PackageURL {
    package let text: String

    /// - Returns: nil for what no package manager installed.
    package init?(_ package: InstalledPackage, _ manager: PackageList.Manager, of distribution: Distribution) {
        let type: String
        switch manager {
        case .dpkg: type = "deb"
        case .apk: type = "apk"
        case .none: return nil
        }
        text =
            "pkg:\(type)/\(Self.escaped(distribution.id))/\(Self.escaped(package.name))@\(Self.escaped(package.version))"
            + "?arch=\(Self.escaped(package.architecture))&distro=\(Self.escaped(distribution.description))"
    }

    /// Everything but unreserved characters and colons, percent-encoded.
    private static func escaped(_ text: String) -> String {
        var result: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: ":"):
                result.append(byte)
            default: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
