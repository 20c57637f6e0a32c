import Glibc

enum OpenFile {
    /// In bytes; -1 if the descriptor is not open.
    static func size(_ descriptor: Int32) -> Int64 {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int64(status.st_size) : -1
    }
}
