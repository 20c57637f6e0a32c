import FoundationEssentials
import Identity
import NIOSSL
import SwiftASN1
import X509

/// What a client's certificate, already verified, says of its user.
///
/// The name is the subject's common name (CN). A certificate without one has its first URI name (`spiffe://…`), or else
/// its first DNS name, as its user. A subject with several common names is nobody's.
struct ClientCertificate: Sendable {
    /// nil: it names no user.
    let user: String?
    let notValidAfter: Date

    init(_ certificate: NIOSSLCertificate) throws {
        let certificate = try Certificate(derEncoded: try certificate.toDERBytes())
        notValidAfter = certificate.notValidAfter
        user = Self.name(certificate).flatMap { Policy.isName($0) ? $0 : nil }
    }

    private static func name(_ certificate: Certificate) -> String? {
        let common = certificate.subject.flatMap { $0 }
            .filter { $0.type == .RDNAttributeType.commonName }
        if let first = common.first { return common.count == 1 ? String(first.value) : nil }
        guard let names = try? certificate.extensions.subjectAlternativeNames else { return nil }
        for case .uniformResourceIdentifier(let name) in names { return name }
        for case .dnsName(let name) in names { return name }
        return nil
    }
}
