import Foundation
import Transfer

/// A file with a password or a token in its one line.
enum PasswordFile {
    private static let maximumSize = 16 << 10

    static func read(_ path: String) throws -> String {
        guard let bytes = FileManager.default.contents(atPath: path), bytes.count <= maximumSize else {
            throw TransferError.configuration("the password file '\(path)' can't be read")
        }
        return String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .newlines)
    }
}
