import Foundation
import TestSupport

/// A rootfs made of a few files.
struct RootfsFolder {
    let path: String

    /// - Parameters:
    ///   - status: dpkg's database.
    ///   - release: the os-release.
    init(_ path: String, status: String, release: String = "ID=debian\nVERSION_ID=\"12\"\n") throws {
        self.path = path
        let files = [
            ("etc/passwd", "vcap:x:2000:2000::/home/vcap:/bin/sh\n"), ("etc/group", "vcap:x:2000:\n"),
            ("etc/os-release", release), ("var/lib/dpkg/status", status),
        ]
        for (name, text) in files {
            let file = URL(fileURLWithPath: "\(path)/\(name)")
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        try FileManager.default.createDirectory(atPath: path + "/bin", withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: "/bin/busybox", toPath: path + "/bin/sh")
    }

    static func stanza(_ name: String, _ version: String) -> String {
        "Package: \(name)\nStatus: install ok installed\nVersion: \(version)\nArchitecture: amd64\n\n"
    }

    func importAs(_ version: String, of stack: String, _ server: RunningServer, _ more: [String] = []) async throws {
        try await runSuccessfully("tar", ["-C", path, "--owner=0", "--group=0", "-cf", path + ".tar", "."])
        try await server.cisternSuccessfully(
            ["rootfs", "import", "--stack", stack, "--version", version, "--shell", "/bin/sh"] + more + [path + ".tar"])
    }
}
