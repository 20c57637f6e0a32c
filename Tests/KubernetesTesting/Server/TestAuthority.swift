import Crypto
public import Foundation
import SwiftASN1
import X509

/// A certificate authority for tests, all in memory.
public struct TestAuthority: Sendable {
    /// A certificate and its key as PEM.
    public struct Identity: Sendable {
        public let certificate: String
        public let key: String
    }

    private let certificate: Certificate
    private let key: P256.Signing.PrivateKey
    /// As PEM.
    public let pem: String

    public init(name: String = "kubernetes") throws {
        key = P256.Signing.PrivateKey()
        let subject = try DistinguishedName { CommonName(name) }
        let publicKey = Certificate.PublicKey(key.publicKey)
        certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: publicKey, notValidBefore: Date() - 3600,
            notValidAfter: Date() + 86_400, issuer: subject, subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: publicKey)
            }, issuerPrivateKey: .init(key))
        pem = try certificate.serializeAsPEM().pemString + "\n"
    }

    /// A server's certificate for localhost, 127.0.0.1 and these names.
    /// - Parameter expires: for tests with one that expired.
    public func server(names: [String] = [], expires: Date = Date() + 86_400) throws -> Identity {
        let all =
            [GeneralName.ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1]))]
            + (["localhost"] + names).map { .dnsName($0) }
        return try issue(
            try DistinguishedName { CommonName("kube-apiserver") }, expires: expires,
            try Certificate.Extensions {
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(all)
            })
    }

    /// A client's certificate: the name is its CN, the groups are its O ("Authenticating", "X.509 client certificates").
    public func client(_ user: User) throws -> Identity {
        let groups = user.groups.sorted().map { group in
            RelativeDistinguishedName(.init(type: .RDNAttributeType.organizationName, utf8String: group))
        }
        let own = RelativeDistinguishedName(.init(type: .RDNAttributeType.commonName, utf8String: user.name))
        let name = DistinguishedName(groups + [own])
        return try issue(
            name, expires: Date() + 86_400, try Certificate.Extensions { try ExtendedKeyUsage([.clientAuth]) })
    }

    private func issue(_ subject: DistinguishedName, expires: Date, _ extensions: Certificate.Extensions) throws
        -> Identity
    {
        let own = P256.Signing.PrivateKey()
        let issued = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(own.publicKey),
            notValidBefore: min(Date(), expires) - 3600, notValidAfter: expires, issuer: certificate.subject,
            subject: subject, signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
            issuerPrivateKey: .init(key))
        return Identity(
            certificate: try issued.serializeAsPEM().pemString + "\n", key: own.pemRepresentation + "\n")
    }

    /// `sha256:…` of bytes.
    static func digest(_ bytes: [UInt8]) -> String {
        "sha256:" + SHA256.hash(data: bytes).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    /// The user that a client's certificate names; nil if it can't be read.
    static func user(ofDER bytes: [UInt8]) -> User? {
        guard let certificate = try? Certificate(derEncoded: bytes) else { return nil }
        var user = User("", groups: ["system:authenticated"])
        for attribute in certificate.subject.flatMap({ $0 }) {
            let text = String(describing: attribute.value)
            if attribute.type == .RDNAttributeType.commonName { user.name = text }
            if attribute.type == .RDNAttributeType.organizationName { user.groups.insert(text) }
        }
        return user.name.isEmpty ? nil : user
    }
}
