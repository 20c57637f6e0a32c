/// The system calls that the filesystem driver makes, so that tests can lose power or fill the disk at any of them.
///
/// Paths are relative to the store's directory, `""` being the directory itself; nothing resolves outside of it and no
/// symlink in it is followed. Calls retry when they are interrupted.
protocol FileSystem: Sendable {
    func open(_ path: String, _ access: FileAccess) throws(FileSystemError) -> Int32
    func close(_ file: Int32)
    /// Fewer bytes than asked for only at the file's end.
    func read(
        _ file: Int32, at offset: Int64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(FileSystemError) -> Int
    /// All of the bytes, or an error.
    func write(_ file: Int32, at offset: Int64, _ bytes: UnsafeRawBufferPointer) throws(FileSystemError)
    /// Makes room for a file of this size, which it then has.
    func allocate(_ file: Int32, size: Int64) throws(FileSystemError)
    /// A hint that these bytes should be on their way to the disk.
    func startWriteback(_ file: Int32, at offset: Int64, count: Int64)
    /// A hint that these bytes, which are on the disk or on their way, are not read before long.
    func dropFromMemory(_ file: Int32, at offset: Int64, count: Int64)
    func setModified(_ file: Int32, nanoseconds: Int64) throws(FileSystemError)
    /// Makes a file's bytes durable, and its times too unless `dataOnly`. Its name is its directory's matter.
    func sync(_ file: Int32, dataOnly: Bool) throws(FileSystemError)
    /// Makes a directory's entries durable.
    func syncDirectory(_ path: String) throws(FileSystemError)
    /// Makes everything durable that was done in this file system before.
    func syncAll() throws(FileSystemError)
    /// EISDIR for a directory.
    func information(of file: Int32) throws(FileSystemError) -> FileInformation
    func look(at path: String) throws(FileSystemError) -> PathState
    /// A directory that is already there is no error.
    func makeDirectory(_ path: String) throws(FileSystemError)
    func removeDirectory(_ path: String) throws(FileSystemError)
    func remove(_ path: String) throws(FileSystemError)
    /// Removes files of a directory. What is not there, or a directory itself, is left alone.
    func removeIfThere(_ names: [String], in directory: String) throws(FileSystemError)
    /// Replaces what is at the new path in one step.
    func rename(_ old: String, to new: String) throws(FileSystemError)
    /// Calls back with the name of every entry but `.` and `..`, in no order.
    func entries(
        of directory: String, _ each: (UnsafeRawBufferPointer, EntryKind) -> Void
    ) throws(FileSystemError)
    func space() throws(FileSystemError) -> FileSystemSpace
    /// Waits until the bytes of all files are free that were removed or replaced before: that may take a while longer.
    func settle()
}

enum FileAccess: Sendable {
    case read
    /// A new file, to be written and read; an error if there is one.
    case create
    /// To be written and read, made if there is none.
    case readWrite
    /// To be written and read; an error if there is none.
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
    /// Something above it is no directory.
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
    /// errno
    let code: Int32
    /// What was tried, such as `opening journal/00`.
    let action: String
}
