import Foundation

/// The paths in a server's data directory.
struct DataDirectory: Sendable {
    let path: String

    var store: String { path + "/store" }
    var tls: String { path + "/tls" }
    var users: String { path + "/users.htpasswd" }
    var policy: String { path + "/policy.yaml" }
    var secrets: String { path + "/secrets" }
    /// The file with the served URLs, one a line. It exists while the server runs.
    var address: String { path + "/address" }
    /// The directory with the public keys whose signatures of a rootfs count.
    var trust: String { path + "/trust" }
    var authority: String { tls + "/ca.pem" }

    func password(of user: String) -> String { "\(secrets)/\(user).password" }

    /// Makes the data directory, readable by its owner only, unless it is there.
    static func make(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw CommandError("the data directory \(path) can't be made: \(error.localizedDescription)")
        }
    }
}
