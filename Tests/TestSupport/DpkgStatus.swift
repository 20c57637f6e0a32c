/// Package databases as tests write them.
package enum DpkgStatus {
    package static let path = "var/lib/dpkg/status"
    package static let debian = "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"

    package static func stanza(_ name: String, _ version: String, _ architecture: String = "amd64", _ more: String = "")
        -> String
    {
        "Package: \(name)\nStatus: install ok installed\nPriority: optional\nMaintainer: Somebody <s@example.org>\n"
            + "Architecture: \(architecture)\nVersion: \(version)\n\(more)Description: short\n long: goes on\n .\n Version: 9\n"
    }

    package static let sample = [
        stanza("libc6", "2.36-9+deb12u10", "amd64", "Multi-Arch: same\nSource: glibc\n"),
        stanza("libstdc++6", "12.2.0-14+deb12u1", "amd64", "Source: gcc-12 (12.2.0-14)\n"),
        stanza("adduser", "3.134", "all"),
    ].joined(separator: "\n")
    package static let file = TestTar.Entry.file(path, sample)
}
