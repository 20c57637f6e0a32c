import Foundation
import Logging
import NIOSSL
import Service

extension Server {
    /// Who may do what; a first start makes an operator and a pull user.
    func makeAuthenticator() throws -> Authenticator {
        let paths = FirstUsers.Paths(data: directory.path)
        for path in try FirstUsers.prepare(paths) { writeToStandardError("made a password: \(path)\n") }
        return Authenticator(users: try Htpasswd(path: paths.users), policy: try Policy(path: paths.policy))
    }

    /// The given certificate, or one of an authority of this directory's own.
    func makeTLS() throws -> TLSConfiguration {
        if let files = settings.tlsFiles {
            return try TLSFiles(certificate: files.certificate, key: files.key).configuration()
        }
        let authority = CertificateAuthority(directory: directory.tls)
        if try authority.prepare(names: settings.listen.map(\.host)) {
            writeToStandardError("made a certificate; clients trust it by \(authority.authorityPath)\n")
        }
        return try authority.files.configuration()
    }

    /// Says where the server is and what to type next, and writes the addresses down for programs.
    func announce(_ addresses: [BoundAddress], _ logger: Logger) {
        let text = addresses.map { "\($0)\n" }.joined()
        do { try Data(text.utf8).write(to: URL(fileURLWithPath: directory.address), options: .atomic) } catch {
            logger.error("the address file can't be written", metadata: ["path": "\(directory.address)"])
        }
        for address in addresses { logger.notice("listening", metadata: ["address": "\(address)"]) }
        guard let address = addresses.first else { return }
        writeToStandardError(
            """
            cistern serves \(addresses.map(\.description).joined(separator: ", "))
            Type next, for example:
              export CISTERN_SERVER=\(address) CISTERN_USER=operator
              export CISTERN_PASSWORD_FILE=\(directory.password(of: "operator"))\
            \(address.isSecure && settings.tlsFiles == nil ? " CISTERN_CA=\(directory.authority)" : "")
              cistern rootfs import --stack \(settings.defaultStack) --version 1 --promote ROOTFS.tar.gz
              cistern droplet upload --guid my-app DROPLET.tgz

            """)
    }
}

extension DataDirectory {
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
