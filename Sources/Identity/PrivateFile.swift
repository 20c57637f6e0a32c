package import Glibc
import Runtime

/// Small files that only their owner may read: written whole, atomically and durably.
package enum PrivateFile {
    package static let mode: mode_t = 0o600

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// - Parameter maximum: in bytes; a larger file is an error.
    package static func read(_ path: String, maximum: Int) throws(AuthenticationError) -> String {
        do { return try SmallFile.text(path, maximum: maximum) } catch {
            throw .file(path: path, reason: error.reason)
        }
    }

    /// Which of these files and directories others than their owner can change, or read though they hold secrets: a
    /// sentence for each, with its path. Those that are missing are left out.
    package static func weaknesses(secret: [String], public others: [String] = []) -> [String] {
        (secret.map { ($0, true) } + others.map { ($0, false) }).compactMap { path, isSecret in
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            let isDirectory = status.st_mode & S_IFMT == S_IFDIR
            let what = isDirectory ? "directory" : "file"
            if status.st_mode & 0o022 != 0 {
                return "others than its owner can change the \(what) \(path): chmod go-w"
            }
            guard isSecret, status.st_mode & 0o077 != 0 else { return nil }
            return
                "others than its owner can read the \(what) \(path), which holds secrets: chmod \(isDirectory ? 700 : 600)"
        }
    }

    /// Replaces a file. After a crash at any moment the old file is there, or the new one.
    package static func write(_ path: String, _ bytes: [UInt8], mode: mode_t = mode) throws(AuthenticationError) {
        let temporary = "\(path).\(getpid()).new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw failure(temporary) }
        var renamed = false
        defer {
            close(descriptor)
            if !renamed { unlink(temporary) }
        }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(temporary) }
            rest = rest.dropFirst(count)
        }
        // The umask may have taken away permissions that `mode` gives to others (for a certificate).
        guard fchmod(descriptor, mode) == 0, fsync(descriptor) == 0 else { throw failure(temporary) }
        guard rename(temporary, path) == 0 else { throw failure(path) }
        renamed = true
        try syncDirectory(of: path)
    }

    /// Makes a directory and those above it that are missing.
    package static func makeDirectory(_ path: String, mode: mode_t = 0o700) throws(AuthenticationError) {
        if mkdir(path, mode) == 0 {
            try syncDirectory(of: path)
            return
        }
        let reason = errno
        if reason == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            try makeDirectory(String(path[..<slash]), mode: mode)
            try makeDirectory(path, mode: mode)
            return
        }
        var status = stat()
        guard reason == EEXIST, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw failure(path, reason)
        }
    }

    /// Runs the body while no other process does so for the same path. The lock is the file `PATH.lock` beside it.
    static func locked<Result>(
        _ path: String, _ body: () throws(AuthenticationError) -> Result
    ) throws(AuthenticationError) -> Result {
        let descriptor = open("\(path).lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw failure("\(path).lock") }
        defer { close(descriptor) }
        while flock(descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else { throw failure("\(path).lock") }
        }
        return try body()
    }

    private static func syncDirectory(of path: String) throws(AuthenticationError) {
        let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(parent) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure(parent) }
    }

    private static func failure(_ path: String, _ code: Int32 = errno) -> AuthenticationError {
        .file(path: path, reason: String(cString: strerror(code)))
    }
}
