import Runtime
import Signatures

extension SigningKey {
    /// How many keys there may be: the one in use, and those that verifiers still know.
    private static let maximumCount = 4
    private static let maximumSize = 64 << 10

    /// Reads the keys of the setting `provenance.key`.
    /// - Parameter paths: separated by commas.
    /// - Throws: `CommandError`, which says nothing of what is in the files.
    static func read(_ paths: String) throws -> [SigningKey] {
        let paths = paths.split(separator: ",").map { String($0.trimmingBlanks) }.filter { !$0.isEmpty }
        guard paths.count <= maximumCount else {
            throw CommandError("\(Setting.provenanceKey.key) names more than \(maximumCount) files")
        }
        let keys = try paths.map { path in
            do { return try SigningKey(pem: try SmallFile.read(path, maximum: maximumSize, isSecret: true)) } catch {
                throw CommandError(
                    "\(printable(path)) can't sign provenance: \(reason(error)). "
                        + "A key is made with: (umask 077; openssl genpkey -algorithm ed25519 -out \(printable(path)))")
            }
        }
        guard Set(keys.map(\.id)).count == keys.count else {
            throw CommandError("\(Setting.provenanceKey.key) names the same key twice")
        }
        return keys
    }

    private static func reason(_ error: any Error) -> String {
        (error as? SmallFile.Failure)?.reason ?? "\(error)"
    }
}

extension Substring {
    fileprivate var trimmingBlanks: Substring {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return rest
    }
}
