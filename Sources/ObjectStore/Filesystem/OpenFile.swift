/// An open file, closed when nobody uses it any more.
final class OpenFile: Sendable {
    let descriptor: Int32
    private let files: any FileSystem

    init(_ descriptor: Int32, _ files: any FileSystem) {
        self.descriptor = descriptor
        self.files = files
    }

    deinit { files.close(descriptor) }
}
