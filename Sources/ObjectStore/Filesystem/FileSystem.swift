/// The system calls that the filesystem driver makes, so that tests can lose power or fill the disk at any of them.
///
/// Paths are relative to the store's directory, `""` being the directory itself; nothing resolves outside of it and no
/// symlink in it is followed. Calls retry when they are interrupted.
protocol FileSystem: Sendable {
    func open(_ path: String, _ access: FileAccess) throws(FileSystemError) -> Int32
    func close(_ file: Int32)
    /// Reads into a buffer.
    /// - Returns: how many bytes were read, fewer than the buffer takes only at the file's end.
    func read(
        _ file: Int32, at offset: Int64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(FileSystemError) -> Int
    /// Writes all of the bytes, or throws.
    func write(_ file: Int32, at offset: Int64, _ bytes: UnsafeRawBufferPointer) throws(FileSystemError)
    /// Reserves disk space for a file of this size in bytes, and gives the file that size.
    func allocate(_ file: Int32, size: Int64) throws(FileSystemError)
    /// Hints that the kernel should begin writing these bytes to the disk.
    func startWriteback(_ file: Int32, at offset: Int64, count: Int64)
    /// Hints that these bytes, which are on the disk or being written to it, won't be read soon and need no memory.
    func dropFromMemory(_ file: Int32, at offset: Int64, count: Int64)
    func setModified(_ file: Int32, nanoseconds: Int64) throws(FileSystemError)
    /// Makes a file's bytes durable, and its times too unless `dataOnly`. `syncDirectory` makes its name durable.
    func sync(_ file: Int32, dataOnly: Bool) throws(FileSystemError)
    /// Makes a directory's entries durable.
    func syncDirectory(_ path: String) throws(FileSystemError)
    /// Makes everything durable that was done in this file system before.
    func syncAll() throws(FileSystemError)
    /// An open file's size and time.
    /// - Throws: EISDIR for a directory.
    func information(of file: Int32) throws(FileSystemError) -> FileInformation
    func look(at path: String) throws(FileSystemError) -> PathState
    /// Makes a directory, unless it exists.
    func makeDirectory(_ path: String) throws(FileSystemError)
    func removeDirectory(_ path: String) throws(FileSystemError)
    func remove(_ path: String) throws(FileSystemError)
    /// Removes files of a directory. Names that are missing or are directories are skipped.
    func removeIfThere(_ names: [String], in directory: String) throws(FileSystemError)
    /// Renames a file and replaces what is at the new path, in one step.
    func rename(_ old: String, to new: String) throws(FileSystemError)
    /// Calls back with the name of every entry but `.` and `..`, in no particular order.
    func entries(
        of directory: String, _ each: (UnsafeRawBufferPointer, EntryKind) -> Void
    ) throws(FileSystemError)
    func space() throws(FileSystemError) -> FileSystemSpace
    /// Returns when the disk space of files that were removed or replaced before is free; a removal does not wait for
    /// that.
    func settle()
}

enum FileAccess: Sendable {
    case read
    /// Makes a new file to write and read; fails if there is one.
    case create
    /// Opens a file to write and read, and makes it if there is none.
    case readWrite
    /// Opens a file to write and read; fails if there is none.
    case existing
}

struct FileInformation: Hashable, Sendable {
    let size: Int64
    /// Nanoseconds since 1970.
    let modified: Int64
}

enum PathState: Hashable, Sendable {
    case file(FileInformation)
    case directory
    /// A symlink, device, socket or pipe: nothing that the store made.
    case foreign
    case missing
    /// A component before the last one is no directory.
    case belowFile
}

enum EntryKind: Sendable {
    case file
    case directory
    case foreign
}

struct FileSystemSpace: Sendable {
    /// Bytes that may still be written.
    var bytes: Int64
    /// Whether new files can be made.
    var hasFreeFiles: Bool
    var isReadOnly: Bool
}

/// A system call that failed.
struct FileSystemError: Error, Hashable {
    /// The call's `errno`.
    let code: Int32
    /// The action that failed, such as `opening journal/00`.
    let action: String
}
