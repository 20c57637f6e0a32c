import Glibc

extension FileSystemError: CustomStringConvertible {
    var description: String { "\(action): \(String(cString: strerror(code)))" }
}

extension ObjectStoreError {
    init(_ error: FileSystemError) {
        switch error.code {
        case ENOSPC, EDQUOT: self = .full
        case EROFS, EACCES, EPERM: self = .permission(error.description)
        default: self = .io(error.description)
        }
    }
}

/// Runs file system calls and turns their errors into the store's.
func withStoreErrors<Value>(
    _ body: () throws(FileSystemError) -> Value
) throws(ObjectStoreError) -> Value {
    do { return try body() } catch { throw ObjectStoreError(error) }
}

extension FileSystemError {
    var isMissing: Bool { code == ENOENT || code == ENOTDIR }
    var isFull: Bool { code == ENOSPC || code == EDQUOT }
    var isDirectory: Bool { code == EISDIR || code == ENOTEMPTY || code == EEXIST }
}
