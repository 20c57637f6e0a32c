import Blobs
import Foundation
import HTTPServer
import Identity
import Logging
import ObjectStore

extension Server {
    /// Makes the authenticator of the data directory's users and policy. A first start makes an operator and a pull
    /// user.
    func makeAuthenticator() throws -> Authenticator {
        let paths = FirstUsers.Paths(data: directory.path)
        for path in try FirstUsers.prepare(paths) { writeToStandardError("made a password: \(path)\n") }
        return Authenticator(
            users: try Htpasswd.serving(paths.users), policy: try Policy(path: paths.policy),
            tokens: settings.givesTokens ? TokenSigner(try makeKeys(for: .tokens)) : nil)
    }

    /// Reads the keys of the data directory. A first start makes one.
    private func makeKeys(for use: SecretKeys.Use) throws -> SecretKeys {
        let path = SecretKeys.path(data: directory.path, for: use)
        if try SecretKeys.prepare(data: directory.path, for: use) {
            writeToStandardError("made one of \(use): \(path)\n")
        }
        return try SecretKeys(path: path, for: use)
    }

    func makeSigner() throws -> URLSigner { URLSigner(try makeKeys(for: .urls)) }

    /// The TLS of the given certificate, or of one by the data directory's own authority; nil if nothing is served
    /// with TLS.
    func makeTLS() throws -> ServerTLS? {
        guard !settings.listen.isEmpty else { return nil }
        if let files = settings.tlsFiles { return try serverTLS(files.certificate, files.key) }
        let authority = CertificateAuthority(directory: directory.tls)
        if try authority.prepare(names: settings.listen.map(\.host)) {
            writeToStandardError("made a certificate; clients trust it by \(authority.authorityPath)\n")
        }
        return try serverTLS(authority.files.certificate, authority.files.key)
    }

    private func serverTLS(_ certificate: String, _ key: String) throws -> ServerTLS {
        try ServerTLS(
            TLSFiles(
                certificate: certificate, key: key, clientAuthority: settings.clientAuthority,
                offersHTTP2: settings.offersHTTP2))
    }

    /// Makes the service that reloads users, policy, the keys that sign, certificate and key when their files change, and
    /// renews the server's own certificate in time.
    func makeReloader(
        _ authenticator: Authenticator, _ signer: URLSigner, _ quotas: QuotaLedger, _ tls: ServerTLS?, _ logger: Logger
    ) -> CredentialReloader {
        let paths = FirstUsers.Paths(data: directory.path)
        let (place, names) = (directory.tls, settings.listen.map(\.host))
        var renew: (@Sendable () throws -> Void)?
        if tls != nil, settings.tlsFiles == nil {
            renew = { _ = try CertificateAuthority(directory: place).prepare(names: names) }
        }
        var others: [CredentialReloader.Group] = [
            .urlKeys(SecretKeys.path(data: directory.path, for: .urls), signer)
        ]
        if settings.givesTokens {
            others.append(.tokenKeys(SecretKeys.path(data: directory.path, for: .tokens), authenticator))
        }
        return CredentialReloader(
            users: paths.users, policy: paths.policy,
            secrets: [paths.secrets] + ["operator", "pull"].map(paths.password),
            directories: [directory.path, directory.store],
            authenticator: authenticator,
            onPolicy: { quotas.replace($0.quotas.map(Quota.init)) },
            others: others + (tls?.reloaded ?? []),
            renew: renew, logger: logger)
    }

    /// Logs a warning if redirects are wanted, but the store can't make URLs for them.
    func warnOfRedirects(_ store: any ObjectStore, _ logger: Logger) {
        guard settings.redirects, !store.capabilities.presign else { return }
        logger.warning("this store gives no URLs: blobs are sent by the server itself, whatever 'redirects' says")
    }

    /// A check that the store can be written. A full one can't, but it counts as ready, since it still serves and
    /// deletes.
    func storeCheck(_ store: any ObjectStore) -> ReadinessCheck {
        ReadinessCheck("store") {
            let key = try ObjectKey("health/probe")
            do {
                try await store.put(key, Array("probe".utf8), if: .always)
            } catch ObjectStoreError.full {
                return "full"
            }
            try await store.delete(key, ifVersion: nil)
            try await store.sync()
            return nil
        }
    }

    /// Prints the addresses and what to type next, and writes the addresses to a file for programs.
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

extension Quota {
    init(_ quota: Policy.RepositoryQuota) {
        self.init(
            repositories: quota.repositories.description, bytes: quota.bytes, covers: quota.repositories.matches)
    }
}
