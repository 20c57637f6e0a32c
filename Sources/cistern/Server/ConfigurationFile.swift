import Foundation

/// Small files that the server reads at its start.
enum ConfigurationFile {
    /// In bytes.
    static let maximumSize = 1 << 20

    /// - Throws: `CommandError` if the file can't be read, is too large or is no text.
    static func read(_ path: String) throws -> String {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw CommandError("\(path) can't be read: check that it exists and who may read it")
        }
        guard bytes.count <= maximumSize, let text = String(data: bytes, encoding: .utf8) else {
            throw CommandError("\(path) is no text file of at most \(maximumSize) bytes")
        }
        return text
    }
}
