import CLinux
import Glibc

/// A directory of a real file system, reached through openat2(2), which keeps every path below it.
final class LinuxFileSystem: FileSystem {
    private let root: Int32
    private let releaser = FileReleaser()

    /// Opens the directory, which is made if there is none.
    init(root path: String) throws(FileSystemError) {
        let made = Glibc.mkdir(path, 0o750) == 0
        if !made, errno != EEXIST { throw FileSystemError(code: errno, action: "making \(path)") }
        root = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard root >= 0 else { throw FileSystemError(code: errno, action: "opening \(path)") }
        if made {
            // The new directory's entry in its parent must be durable as well.
            let parent = Glibc.openat(root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            if parent >= 0 {
                fsync(parent)
                Glibc.close(parent)
            }
        }
    }

    deinit {
        releaser.stop()
        Glibc.close(root)
    }

    func open(_ path: String, _ access: FileAccess) throws(FileSystemError) -> Int32 {
        switch access {
        case .read: try openToRead(path, O_NOFOLLOW | O_NONBLOCK)
        case .create: try openBeneath(path, O_RDWR | O_CREAT | O_EXCL, mode: 0o640)
        case .readWrite: try openBeneath(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o640)
        case .existing: try openBeneath(path, O_RDWR | O_NOFOLLOW)
        }
    }

    /// Opens the directory itself once more.
    func openRoot() throws(FileSystemError) -> Int32 {
        let file = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { throw FileSystemError(code: errno, action: "opening the store's directory") }
        return file
    }

    func close(_ file: Int32) { Glibc.close(file) }

    func read(
        _ file: Int32, at offset: Int64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(FileSystemError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = try retrying("reading") {
                pread(file, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset) + done)
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    func write(_ file: Int32, at offset: Int64, _ bytes: UnsafeRawBufferPointer) throws(FileSystemError) {
        var done = 0
        while done < bytes.count {
            let count = try retrying("writing") {
                pwrite(file, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset) + done)
            }
            guard count > 0 else { throw FileSystemError(code: ENOSPC, action: "writing") }
            done += count
        }
    }

    func allocate(_ file: Int32, size: Int64) throws(FileSystemError) {
        do {
            try check("allocating") { fallocate(file, 0, 0, off_t(size)) }
        } catch let error where error.code == EOPNOTSUPP {
            // This file system can't reserve space, so the file only gets its size, and a later write may find the
            // disk full.
            try check("allocating") { ftruncate(file, off_t(size)) }
        }
    }

    func startWriteback(_ file: Int32, at offset: Int64, count: Int64) {
        _ = sync_file_range(file, off_t(offset), off_t(count), clinux_start_writeback_flag())
    }

    func dropFromMemory(_ file: Int32, at offset: Int64, count: Int64) {
        _ = posix_fadvise(file, off_t(offset), off_t(count), Int32(POSIX_FADV_DONTNEED))
    }

    func setModified(_ file: Int32, nanoseconds: Int64) throws(FileSystemError) {
        let seconds = nanoseconds / 1_000_000_000
        let time = timespec(tv_sec: Int(seconds), tv_nsec: Int(nanoseconds - seconds * 1_000_000_000))
        try check("setting a time") { futimens(file, [time, time]) }
    }

    func sync(_ file: Int32, dataOnly: Bool) throws(FileSystemError) {
        try check("flushing") { dataOnly ? fdatasync(file) : fsync(file) }
    }

    func syncDirectory(_ path: String) throws(FileSystemError) {
        let directory = try openBeneath(path.isEmpty ? "." : path, O_RDONLY | O_DIRECTORY)
        defer { Glibc.close(directory) }
        try check("flushing the directory \(path)") { fsync(directory) }
    }

    func syncAll() throws(FileSystemError) {
        try check("flushing the file system") { syncfs(root) }
    }

    func information(of file: Int32) throws(FileSystemError) -> FileInformation {
        var status = stat()
        try check("looking at a file") { fstat(file, &status) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return FileInformation(status)
        case S_IFDIR: throw FileSystemError(code: EISDIR, action: "looking at a file")
        default: throw FileSystemError(code: EINVAL, action: "looking at what is no regular file")
        }
    }

    func look(at path: String) throws(FileSystemError) -> PathState {
        let file: Int32
        do {
            file = try openBeneath(path, clinux_path_flag() | O_NOFOLLOW)
        } catch {
            switch error.code {
            case ENOENT: return .missing
            case ENOTDIR: return .belowFile
            default: throw error
            }
        }
        defer { Glibc.close(file) }
        var status = stat()
        try check("looking at \(path)") { fstat(file, &status) }
        return switch status.st_mode & S_IFMT {
        case S_IFREG: .file(FileInformation(status))
        case S_IFDIR: .directory
        default: .foreign
        }
    }

    func makeDirectory(_ path: String) throws(FileSystemError) {
        try inParent(of: path, "making") { (parent, name) in
            let result = mkdirat(parent, name, 0o750)
            return result != 0 && errno == EEXIST ? 0 : result
        }
    }

    func removeDirectory(_ path: String) throws(FileSystemError) {
        try inParent(of: path, "removing") { (parent, name) in unlinkat(parent, name, AT_REMOVEDIR) }
    }

    func remove(_ path: String) throws(FileSystemError) {
        try inParent(of: path, "removing", unlink)
    }

    func removeIfThere(_ names: [String], in directory: String) throws(FileSystemError) {
        let parent: Int32
        do { parent = try openParent(directory) } catch {
            if error.isMissing { return }
            throw error
        }
        var nameless: [Int32] = []
        defer {
            releaser.release(nameless)
            closeParent(parent)
        }
        for name in names {
            do { try check("removing \(directory)/\(name)") { unlink(parent, name, &nameless) } } catch {
                if !error.isMissing, !error.isDirectory { throw error }
            }
        }
    }

    func rename(_ old: String, to new: String) throws(FileSystemError) {
        try inParents(old, new, "renaming", replace)
    }

    /// Renames a file over what may be there, as `renameat` does, but without making ext4 write the file's bytes to
    /// the disk at once, as it does for each rename that replaces a file. The flush of the whole tree makes the bytes
    /// durable, and until then the journal holds them.
    private func replace(_ parent: Int32, _ name: String, _ newParent: Int32, _ newName: String) -> Int32 {
        func rename(_ flags: UInt32) -> Int32 { clinux_rename(parent, name, newParent, newName, flags) }
        if rename(clinux_rename_new_flag()) == 0 { return 0 }
        if errno == EEXIST, rename(clinux_rename_exchange_flag()) == 0 {
            if unlink(parent, name) == 0 { return 0 }
            // The replaced entry is a directory and can't be unlinked: the exchange is undone.
            let error = errno
            _ = rename(clinux_rename_exchange_flag())
            errno = error
            return -1
        }
        // The target is gone meanwhile, or the file system knows no flags: then a plain rename does. Other errors
        // occur again.
        return renameat(parent, name, newParent, newName)
    }

    /// Unlinks a file. Its disk space is freed later, by `releaser`.
    private func unlink(_ parent: Int32, _ name: String) -> Int32 {
        var nameless: [Int32] = []
        let result = unlink(parent, name, &nameless)
        let error = errno
        releaser.release(nameless)
        errno = error
        return result
    }

    /// Unlinks a file.
    /// - Parameter nameless: receives a descriptor of the unlinked file; closing it frees the file's disk space.
    private func unlink(_ parent: Int32, _ name: String, _ nameless: inout [Int32]) -> Int32 {
        let file = openat(parent, name, clinux_path_flag() | O_NOFOLLOW | O_CLOEXEC)
        let result = unlinkat(parent, name, 0)
        guard file >= 0 else { return result }
        let error = errno
        if result == 0 { nameless.append(file) } else { Glibc.close(file) }
        errno = error
        return result
    }

    func settle() { releaser.settle() }

    func entries(
        of directory: String, _ each: (UnsafeRawBufferPointer, EntryKind) -> Void
    ) throws(FileSystemError) {
        let file = try openToRead(directory.isEmpty ? "." : directory, O_DIRECTORY)
        guard let stream = fdopendir(file) else {
            Glibc.close(file)
            throw FileSystemError(code: errno, action: "reading the directory \(directory)")
        }
        defer { closedir(stream) }
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw FileSystemError(code: errno, action: "reading the directory \(directory)") }
                return
            }
            let type = Int32(entry.pointee.d_type)
            withUnsafeBytes(of: &entry.pointee.d_name) { field in
                let name = UnsafeRawBufferPointer(rebasing: field.prefix { $0 != 0 })
                if name.elementsEqual(".".utf8) || name.elementsEqual("..".utf8) { return }
                each(name, kind(type, of: name, in: file))
            }
        }
    }

    private func kind(_ type: Int32, of name: UnsafeRawBufferPointer, in directory: Int32) -> EntryKind {
        switch type {
        case Int32(DT_REG): return .file
        case Int32(DT_DIR): return .directory
        case Int32(DT_UNKNOWN):
            var status = stat()
            let text = String(decoding: name, as: UTF8.self)
            guard fstatat(directory, text, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return .foreign }
            return switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            default: .foreign
            }
        default: return .foreign
        }
    }

    func space() throws(FileSystemError) -> FileSystemSpace {
        var status = statvfs()
        try check("asking for free space") { fstatvfs(root, &status) }
        let blocks = status.f_bavail.multipliedReportingOverflow(by: UInt(status.f_frsize))
        return FileSystemSpace(
            bytes: blocks.overflow ? .max : Int64(clamping: blocks.partialValue),
            // A file system that does not count its inodes reports that it has none at all.
            hasFreeFiles: status.f_files == 0 || status.f_favail > 0,
            isReadOnly: status.f_flag & 1 != 0)
    }

    // MARK: Paths

    private func openBeneath(_ path: String, _ flags: Int32, mode: UInt32 = 0) throws(FileSystemError) -> Int32 {
        while true {
            let file = clinux_open_beneath(root, path, flags, mode)
            if file >= 0 { return file }
            // EAGAIN: a rename raced with the check that the path stays inside.
            if errno == EINTR || errno == EAGAIN { continue }
            throw FileSystemError(code: errno, action: "opening \(path)")
        }
    }

    /// Opens a path without updating its access time (O_NOATIME), or, for files of another owner, with that.
    private func openToRead(_ path: String, _ flags: Int32) throws(FileSystemError) -> Int32 {
        do throws(FileSystemError) {
            return try openBeneath(path, O_RDONLY | flags | clinux_no_access_time_flag())
        } catch let error where error.code == EPERM {
            return try openBeneath(path, O_RDONLY | flags)
        }
    }

    private func inParent(
        of path: String, _ action: String, _ call: (Int32, String) -> Int32
    ) throws(FileSystemError) {
        let (directory, name) = Self.split(path)
        let parent = try openParent(directory)
        defer { closeParent(parent) }
        try check("\(action) \(path)") { call(parent, name) }
    }

    private func inParents(
        _ old: String, _ new: String, _ action: String, _ call: (Int32, String, Int32, String) -> Int32
    ) throws(FileSystemError) {
        let (oldDirectory, oldName) = Self.split(old)
        let (newDirectory, newName) = Self.split(new)
        let oldParent = try openParent(oldDirectory)
        defer { closeParent(oldParent) }
        let newParent = try openParent(newDirectory)
        defer { closeParent(newParent) }
        try check("\(action) \(old) to \(new)") { call(oldParent, oldName, newParent, newName) }
    }

    private static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return ("", path) }
        return (String(path[..<slash]), String(path[path.utf8.index(after: slash)...]))
    }

    private func openParent(_ directory: String) throws(FileSystemError) -> Int32 {
        directory.isEmpty ? root : try openBeneath(directory, clinux_path_flag() | O_DIRECTORY)
    }

    private func closeParent(_ parent: Int32) {
        if parent != root { Glibc.close(parent) }
    }

    private func check(_ action: @autoclosure () -> String, _ call: () -> Int32) throws(FileSystemError) {
        while call() != 0 {
            if errno != EINTR { throw FileSystemError(code: errno, action: action()) }
        }
    }

    private func retrying(_ action: String, _ call: () -> Int) throws(FileSystemError) -> Int {
        while true {
            let result = call()
            if result >= 0 { return result }
            if errno != EINTR { throw FileSystemError(code: errno, action: action) }
        }
    }
}

extension FileInformation {
    fileprivate init(_ status: stat) {
        size = Int64(status.st_size)
        modified = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
    }
}
