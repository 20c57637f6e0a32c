import Foundation
import TestSupport

/// A small file system of its own, mounted for one test. `withTemporaryDirectory` takes it away.
struct Mount {
    let path: String

    /// A file system in memory.
    static func memory(in directory: String, megabytes: Int) async throws -> Mount {
        let path = directory + "/mount"
        try await runSuccessfully("mkdir", [path])
        try await runSuccessfully("mount", ["-t", "tmpfs", "-o", "size=\(megabytes)m", "tmpfs", path])
        return Mount(path: path)
    }

    /// A file system in a file, which can break.
    static func disk(in directory: String, megabytes: Int) async throws -> Mount {
        let mount = Mount(path: directory + "/mount")
        try await runSuccessfully("mkdir", [mount.path])
        try await runSuccessfully("truncate", ["--size", "\(megabytes)M", directory + "/image"])
        try await runSuccessfully("mkfs.ext4", ["-q", "-m", "0", directory + "/image"])
        try await mount.attach(directory)
        return mount
    }

    /// Mounts the file again, as a machine does after its disk was repaired.
    func attach(_ directory: String) async throws {
        try await runSuccessfully("mount", ["-o", "loop,errors=remount-ro", directory + "/image", path])
    }

    /// Takes it away, and waits until nobody has it any more: another test's sandbox, whose mount namespace is a copy of
    /// this one's, keeps it for as long as its step runs.
    func detach(_ directory: String) async throws {
        try await runSuccessfully("umount", [path])
        try await waitUntil("the file system is gone", within: .seconds(120)) {
            try await run("losetup", ["--associated", directory + "/image"]).output.isEmpty
        }
    }

    /// What the kernel does when the disk fails: everything can be read and nothing written any more.
    func fail() async throws { try await runSuccessfully("mount", ["-o", "remount,abort", path]) }

    /// Bytes that an ordinary user can still write.
    var free: Int {
        var space = statvfs()
        return statvfs(path, &space) == 0 ? Int(space.f_bavail) * Int(space.f_frsize) : 0
    }

    /// Takes space away so that so many bytes are left, in a file of its own.
    func fill(leaving left: Int) throws {
        let file = open(path + "/ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw CocoaError(.fileWriteUnknown) }
        defer { close(file) }
        // The server writes meanwhile, its reserve for one: what was free a moment ago may not be.
        for _ in 0..<1000 {
            var status = stat()
            fstat(file, &status)
            let size = Int(status.st_size) + free - left
            let result = size > 0 ? posix_fallocate(file, 0, off_t(size)) : 0
            if result == 0 { return }
            guard result == ENOSPC else { throw CocoaError(.fileWriteUnknown) }
        }
        throw CocoaError(.fileWriteOutOfSpace)
    }

    func empty() { unlink(path + "/ballast") }
}
