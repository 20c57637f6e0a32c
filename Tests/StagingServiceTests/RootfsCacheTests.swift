import Foundation
import OCI
import TestSupport
import Testing

@testable import StagingService

@Suite("Root filesystems that are kept unpacked")
struct RootfsCacheTests {
    /// Packs a directory and gives the path of its digest.
    private static func use(
        _ root: String, in directory: String, _ body: (RootfsCache.Use) throws -> Void
    ) async throws {
        let tar = directory + "/rootfs.tar"
        try await runSuccessfully("tar", ["-cf", tar, "-C", root, "."])
        let digest = Digest.of(Array(try Data(contentsOf: URL(fileURLWithPath: tar))))
        let cache = RootfsCache(directory: directory + "/cache")
        let first = try await cache.use(digest) { try FileManager.default.copyItem(atPath: tar, toPath: $0) }
        try body(first)
        let second = try await cache.use(digest) { _ in Issue.record("it is here") }
        #expect(second.path == first.path)
    }

    private static func mode(_ path: String) -> mode_t? {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : nil
    }

    @Test("What it has at mount points keeps its mode, what is missing is made, and names are looked up in the sandbox")
    func mountPoints() async throws {
        try await withTemporaryDirectory { directory in
            let root = directory + "/root"
            let script =
                "mkdir -p root/etc root/tmp && chmod 1777 root/tmp && ln -s /run/resolv.conf root/etc/resolv.conf"
            try await runSuccessfully("sh", ["-euc", script], directory: directory)
            try await Self.use(root, in: directory) { use in
                #expect(Self.mode(use.path + "/tmp") == 0o1777 && Self.mode(use.path + "/var/lib/buildpacks") == 0o755)
                #expect(Self.mode(use.path + "/var/lib") == 0o755)
                let names = try String(contentsOfFile: use.path + "/etc/resolv.conf", encoding: .utf8)
                #expect(names == SandboxNetwork.resolver)
            }
        }
    }

    @Test("Links in it lead to its own files, never to this machine's")
    func links() async throws {
        try await withTemporaryDirectory { directory in
            let (root, outside) = (directory + "/root", directory + "/outside")
            let script = """
                for name in etc tmp home; do
                    mkdir -p "$1/$name" "$2$1/$name"
                    chmod 700 "$1/$name"
                    ln -s "$1/$name" "$2/$name"
                done
                echo own >"$1/etc/resolv.conf"
                """
            try await runSuccessfully("sh", ["-euc", script, "sh", outside, root])
            try await Self.use(root, in: directory) { use in
                #expect(try String(contentsOfFile: outside + "/etc/resolv.conf", encoding: .utf8) == "own\n")
                #expect(["etc", "tmp", "home"].allSatisfy { Self.mode("\(outside)/\($0)") == 0o700 })
                #expect(try FileManager.default.contentsOfDirectory(atPath: outside + "/home") == [])
                let names = try String(contentsOfFile: use.path + outside + "/etc/resolv.conf", encoding: .utf8)
                #expect(names == SandboxNetwork.resolver)
                #expect(Self.mode(use.path + outside + "/home/vcap") == 0o755)
            }
        }
    }
}
