import Crypto
public import FoundationEssentials
import Glibc
import Identity
import SwiftASN1
import X509

/// The certificate authority of a data directory, which signs the certificate of this one server.
///
///     DIR/tls/ca.pem  ca-key.pem  server.pem  server-key.pem
///
/// Missing files are made. The server's certificate is made again when less than a month is left of it, when it lacks
/// a wanted name, or when it does not fit its key or the authority. The key is kept where possible, so that a start
/// that is interrupted never leaves a pair that does not fit.
public struct CertificateAuthority: Sendable {
    static let authorityDays = 3650
    /// Under the 398 days that some clients accept at most.
    static let serverDays = 397
    static let renewalDays = 30

    private let directory: String
    private let now: Date

    /// - Parameters:
    ///   - directory: made if it is missing.
    ///   - now: the current time.
    public init(directory: String, now: Date = Date()) {
        self.directory = directory
        self.now = now
    }

    /// The path of the certificate that clients have to trust.
    public var authorityPath: String { "\(directory)/ca.pem" }
    public var files: TLSFiles {
        TLSFiles(certificate: "\(directory)/server.pem", key: "\(directory)/server-key.pem")
    }
    private var authorityKeyPath: String { "\(directory)/ca-key.pem" }

    /// Makes or renews what is needed.
    /// - Parameter names: host names and IP addresses that the certificate is for, besides localhost, 127.0.0.1, ::1 and
    ///   this machine's name.
    /// - Returns: whether a certificate was made.
    /// - Throws: `ServerError.tls`.
    @discardableResult
    public func prepare(names: [String] = []) throws(ServerError) -> Bool {
        do {
            try PrivateFile.makeDirectory(directory)
            let (authority, authorityKey) = try authority()
            let names = ServerNames(names + ["localhost", "127.0.0.1", "::1", ServerNames.machine])
            let key = try keepOrMakeKey()
            if let certificate = try? Certificate(pemEncoded: read(files.certificate)),
                isGood(certificate, names, key, authority)
            {
                return false
            }
            try issue(names, key, authority, authorityKey)
            return true
        } catch {
            throw .tls("\(directory): \(error)")
        }
    }

    // MARK: the authority

    private func authority() throws -> (Certificate, P256.Signing.PrivateKey) {
        if let certificate = try? Certificate(pemEncoded: read(authorityPath)),
            let key = try? P256.Signing.PrivateKey(pemRepresentation: read(authorityKeyPath)),
            certificate.publicKey == Certificate.PublicKey(key.publicKey), certificate.notValidAfter > after(days: 1)
        {
            return (certificate, key)
        }
        let key = P256.Signing.PrivateKey()
        let name = try DistinguishedName {
            OrganizationName("Cistern")
            CommonName("Cistern \(String(UInt32.random(in: .min ... .max), radix: 16))")
        }
        let publicKey = Certificate.PublicKey(key.publicKey)
        let certificate = try Certificate(
            version: .v3, serialNumber: Self.serialNumber(), publicKey: publicKey,
            notValidBefore: now.addingTimeInterval(-3600),
            notValidAfter: after(days: Self.authorityDays), issuer: name, subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: publicKey)
            }, issuerPrivateKey: .init(key))
        try PrivateFile.write(authorityKeyPath, Array((key.pemRepresentation + "\n").utf8))
        try PrivateFile.write(authorityPath, pem(certificate), mode: 0o644)
        return (certificate, key)
    }

    // MARK: the server

    private func keepOrMakeKey() throws -> P256.Signing.PrivateKey {
        if let key = try? P256.Signing.PrivateKey(pemRepresentation: read(files.key)) { return key }
        let key = P256.Signing.PrivateKey()
        try PrivateFile.write(files.key, Array((key.pemRepresentation + "\n").utf8))
        return key
    }

    private func isGood(
        _ certificate: Certificate, _ names: ServerNames, _ key: P256.Signing.PrivateKey, _ authority: Certificate
    ) -> Bool {
        certificate.publicKey == Certificate.PublicKey(key.publicKey)
            && authority.publicKey.isValidSignature(certificate.signature, for: certificate)
            && certificate.notValidBefore <= now && certificate.notValidAfter > after(days: Self.renewalDays)
            && (try? certificate.extensions.subjectAlternativeNames).map { names.isCovered(by: Array($0)) } ?? false
    }

    private func issue(
        _ names: ServerNames, _ key: P256.Signing.PrivateKey, _ authority: Certificate,
        _ authorityKey: P256.Signing.PrivateKey
    ) throws {
        let publicKey = Certificate.PublicKey(key.publicKey)
        let certificate = try Certificate(
            version: .v3, serialNumber: Self.serialNumber(), publicKey: publicKey,
            notValidBefore: now.addingTimeInterval(-3600),
            notValidAfter: min(after(days: Self.serverDays), authority.notValidAfter), issuer: authority.subject,
            subject: try DistinguishedName {
                OrganizationName("Cistern")
                CommonName("Cistern server")
            }, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(names.all)
                SubjectKeyIdentifier(hash: publicKey)
                AuthorityKeyIdentifier(
                    keyIdentifier: try authority.extensions.subjectKeyIdentifier?.keyIdentifier)
            }, issuerPrivateKey: .init(authorityKey))
        try PrivateFile.write(files.certificate, pem(certificate), mode: 0o644)
    }

    /// Random and positive in at most 20 bytes (RFC 5280, section 4.1.2.2).
    private static func serialNumber() -> Certificate.SerialNumber {
        var generator = SystemRandomNumberGenerator()
        return .init(bytes: [UInt8.random(in: 1...0x7F)] + (0..<15).map { _ in generator.next() as UInt8 })
    }

    private func after(days: Int) -> Date { now.addingTimeInterval(Double(days) * 86_400) }

    private func read(_ path: String) throws -> String { try PrivateFile.read(path, maximum: 1 << 20) }

    private func pem(_ certificate: Certificate) throws -> [UInt8] {
        Array((try certificate.serializeAsPEM().pemString + "\n").utf8)
    }
}

/// The names that a certificate is for, as subject alternative names: clients look at nothing else.
struct ServerNames {
    let all: [GeneralName]

    init(_ names: [String]) {
        var all: [GeneralName] = []
        for name in names where !name.isEmpty {
            let entry = Self.address(name).map { GeneralName.ipAddress(ASN1OctetString(contentBytes: $0[...])) }
            let named = entry ?? .dnsName(name.lowercased())
            if !all.contains(named) { all.append(named) }
        }
        self.all = all
    }

    func isCovered(by names: [GeneralName]) -> Bool { all.allSatisfy(names.contains) }

    /// The name that this machine gives itself; empty if a certificate can't carry it.
    static var machine: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "" }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let isName =
            (1...253).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
        return isName ? name : ""
    }

    /// The 4 or 16 bytes of an IP address; nil for names.
    private static func address(_ text: String) -> [UInt8]? {
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            if inet_pton(family, text, &bytes) == 1 { return bytes }
        }
        return nil
    }
}
