public import Identity
public import NIOSSL
import Synchronization

/// A listener's TLS: certificate, key and clients' authorities, which can be replaced while it serves.
///
/// A handshake takes what is in force when its connection comes in. Connections that are open stay as they are, and
/// sessions are not resumed across a replacement, so that what was withdrawn is not believed again.
public final class ServerTLS: Sendable {
    let files: TLSFiles?
    private let context: Mutex<NIOSSLContext>

    /// - Throws: `ServerError.tls` if a file can't be read or the key is not the certificate's.
    public init(_ files: TLSFiles) throws(ServerError) {
        self.files = files
        context = Mutex(try files.load().context)
    }

    /// One that stays as it is.
    public init(_ configuration: TLSConfiguration) throws(ServerError) {
        files = nil
        do {
            context = Mutex(try NIOSSLContext(configuration: configuration))
        } catch {
            throw .tls("\(error)")
        }
    }

    var current: NIOSSLContext { context.withLock { $0 } }

    /// What a reloader watches and reloads; empty if this stays as it is.
    public var reloaded: [CredentialReloader.Group] {
        guard let files else { return [] }
        return [CredentialReloader.Group(name: "certificate and key", paths: files.paths) { try self.reload() }]
    }

    /// Takes what the files hold now, as one step.
    /// - Throws: `ServerError.tls`; what was in force then stays.
    func reload() throws(ServerError) {
        guard let files else { return }
        let new = try files.load().context
        context.withLock { $0 = new }
    }
}
