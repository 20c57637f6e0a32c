import Runtime

/// Small files that the server reads at its start.
enum ConfigurationFile {
    /// In bytes.
    static let maximumSize = 1 << 20

    /// - Throws: `CommandError` if the file can't be read, is too large or is no text.
    static func read(_ path: String) throws -> String {
        do { return try SmallFile.text(path, maximum: maximumSize) } catch {
            throw CommandError("\(printable(path)) can't be read: \(error.reason)")
        }
    }
}
