import Foundation
import Glibc
import Testing

/// A root file system with nothing but busybox and the lifecycle programs, and a droplet in it. Gone with the value.
final class TinyRoot {
    let url: URL

    private static let applets = [
        "sh", "cat", "cut", "echo", "env", "grep", "id", "kill", "ls", "ps", "sleep", "true", "wc",
    ]

    init() throws {
        try #require(geteuid() == 0, "these tests make pid namespaces: run them as root")
        url = FileManager.default.temporaryDirectory
            .appending(component: "cistern-launch-\(UUID().uuidString)", directoryHint: .isDirectory)
        for directory in ["bin", "proc", "lifecycle", "usr/bin", "home/vcap/app", "home/vcap/deps", "home/vcap/tmp"] {
            try FileManager.default.createDirectory(at: path(directory), withIntermediateDirectories: true)
        }
        try FileManager.default.copyItem(at: URL(filePath: "/bin/busybox"), to: path("bin/busybox"))
        // Shells open it for what runs in the background.
        try FileManager.default.createDirectory(at: path("dev"), withIntermediateDirectories: true)
        try Data().write(to: path("dev/null"))
        for applet in Self.applets { try link("bin/\(applet)", to: "busybox") }
        try FileManager.default.copyItem(at: BuiltLaunch.url(), to: path("lifecycle/launch"))
        try link("lifecycle/launcher", to: "launch")
        try link("usr/bin/dumb-init", to: "/lifecycle/launch")
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) -> URL { url.appending(path: name) }

    func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(
            atPath: path(name).path(percentEncoded: false), withDestinationPath: target)
    }

    /// Writes a file under /home/vcap.
    func write(_ name: String, _ text: String, mode: Int = 0o644) throws {
        let file = path("home/vcap/" + name)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file.path(percentEncoded: false))
    }

    /// Runs a program of this root as process 1 of a new pid namespace.
    func runAsProcessOne(
        _ words: [String], _ environment: [String: String] = [:], withProc: Bool = false, user: Int = 0
    ) throws -> Command {
        var arguments = [
            "/usr/bin/unshare", "--pid", "--fork", "--kill-child", "--root=\(url.path(percentEncoded: false))",
            "--wd=/",
        ]
        if withProc { arguments.append("--mount-proc") }
        if user != 0 { arguments += ["--setgid", String(user), "--setuid", String(user)] }
        return try Command(arguments + words, environment: environment, directory: url)
    }

    /// Runs a program of this root in the pid namespace of these tests.
    func run(_ words: [String], _ environment: [String: String] = [:]) throws -> Command {
        try Command(
            ["/usr/sbin/chroot", url.path(percentEncoded: false)] + words, environment: environment, directory: url)
    }
}
