@testable import Images

/// Package databases as tests write them.
enum Status {
    static let path = "var/lib/dpkg/status"
    static let debian = "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"

    static func stanza(_ name: String, _ version: String, _ architecture: String = "amd64", _ more: String = "")
        -> String
    {
        "Package: \(name)\nStatus: install ok installed\nPriority: optional\nMaintainer: Somebody <s@example.org>\n"
            + "Architecture: \(architecture)\nVersion: \(version)\n\(more)Description: short\n long: goes on\n .\n Version: 9\n"
    }

    static func dpkg(_ stanzas: String...) -> TestTar.Entry { .file(path, stanzas.joined(separator: "\n")) }

    static let sample = dpkg(
        stanza("libc6", "2.36-9+deb12u10", "amd64", "Multi-Arch: same\nSource: glibc\n"),
        stanza("libstdc++6", "12.2.0-14+deb12u1", "amd64", "Source: gcc-12 (12.2.0-14)\n"),
        stanza("adduser", "3.134", "all"))
}

extension TestHouse {
    func packages(_ version: String) async throws -> PackageList {
        try await rootfs.packages(try StackName(Self.stack), try VersionName(version), .amd64)
    }

    func changes(_ old: String, _ new: String) async throws -> PackageChanges {
        try await rootfs.packageChanges(
            try StackName(Self.stack), from: try VersionName(old), to: try VersionName(new), .amd64)
    }
}

extension PackageList {
    var words: [String] { packages.map { "\($0.name) \($0.version) \($0.architecture)" } }
}
