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
        try install(URL(filePath: "/bin/busybox"), "bin/busybox")
        // Shells open it for what runs in the background.
        try FileManager.default.createDirectory(at: path("dev"), withIntermediateDirectories: true)
        try Data().write(to: path("dev/null"))
        for applet in Self.applets { try link("bin/\(applet)", to: "busybox") }
        try install(BuiltLaunch.url(), "lifecycle/launch")
        try link("lifecycle/launcher", to: "launch")
        try link("lifecycle/shell", to: "launch")
        try link("usr/bin/dumb-init", to: "/lifecycle/launch")
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) -> URL { url.appending(path: name) }

    func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(
            atPath: path(name).path(percentEncoded: false), withDestinationPath: target)
    }

    /// Writes a file under /home/vcap.
    func write(_ name: String, _ text: String) throws {
        let file = path("home/vcap/" + name)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }

    /// Writes a script under /home/vcap.
    func writeScript(_ name: String, _ text: String) throws {
        try write(name + ".text", text)
        try install(path("home/vcap/\(name).text"), "home/vcap/" + name)
    }

    /// Copies a program by another process: whatever the tests start meanwhile would inherit this process's open file,
    /// and a file that is open for writing can't be executed.
    private func install(_ program: URL, _ name: String) throws {
        let words = ["/usr/bin/install", "-m", "755", program.path(percentEncoded: false)]
        let command = try Command(words + [path(name).path(percentEncoded: false)], directory: url)
        try #require(command.exitCode == 0, "\(command.errors)")
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
