import Foundation
import Identity
import TestSupport
import Testing

@testable import HTTPServer

@Suite("The certificate authority", .timeLimit(.minutes(5)))
struct CertificateAuthorityTests {
    private static var routes: Routes {
        var routes = Routes()
        routes.get("/ok", access: .open) { _ in .text("ok") }
        return routes
    }

    private func contents(_ directory: TemporaryDirectory) throws -> [String: String] {
        let names = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        return Dictionary(
            uniqueKeysWithValues: try names.map {
                ($0, try String(contentsOfFile: directory.path + "/" + $0, encoding: .utf8))
            })
    }

    @Test("Clients that trust the authority reach the server by its names", arguments: ["localhost", "127.0.0.1"])
    func names(name: String) async throws {
        try await TestServer.run(Self.routes) { server async throws in
            let answer = try await RawClient.with(
                port: server.secure, authority: server.directory.path + "/tls/ca.pem", name: name
            ) { try await $0.request("GET", "/ok").text }
            #expect(answer == "ok")
        }
    }

    @Test(
        "The certificate is for the names that it has and for no others",
        arguments: [
            ("-verify_hostname", "localhost", true), ("-verify_ip", "127.0.0.1", true), ("-verify_ip", "::1", true),
            ("-verify_hostname", "registry.example", true), ("-verify_hostname", "elsewhere.example", false),
            ("-verify_ip", "127.0.0.2", false), ("-verify_hostname", "Cistern server", false),
        ])
    func verifiedNames(kind: String, name: String, isGood: Bool) async throws {
        let directory = try TemporaryDirectory()
        let authority = CertificateAuthority(directory: directory.path)
        try authority.prepare(names: ["Registry.example"])
        let result = try await openssl(
            "verify", "-CAfile", authority.authorityPath, kind, name, authority.files.certificate)
        #expect((result.status == 0) == isGood, "\(result.output)")
    }

    @Test(
        "openssl accepts the chain strictly, TLS 1.2 and 1.3, and is refused TLS 1.1",
        arguments: [
            ("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false),
        ])
    func versions(version: String, isGood: Bool) async throws {
        try await TestServer.run(Self.routes) { server async throws in
            let tls = server.directory.path + "/tls"
            #expect(
                try await openssl(
                    "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", tls + "/ca.pem", tls + "/server.pem"
                ).status == 0)
            let session = try await openssl(
                "s_client", "-connect", "127.0.0.1:\(server.secure)", "-CAfile", tls + "/ca.pem",
                "-verify_return_error",
                "-verify_ip", "127.0.0.1", "-alpn", "h2,http/1.1", version)
            #expect((session.status == 0) == isGood, "\(session.output)")
            if isGood { #expect(session.output.contains("ALPN protocol: h2")) }
        }
    }

    @Test("Keys are their owner's, and a second start changes nothing")
    func stable() throws {
        let directory = try TemporaryDirectory()
        #expect(try CertificateAuthority(directory: directory.path).prepare())
        for name in ["ca-key.pem", "server-key.pem"] {
            let mode = try FileManager.default.attributesOfItem(atPath: directory.path + "/" + name)[.posixPermissions]
            #expect(mode as? Int == 0o600)
        }
        let before = try contents(directory)
        #expect(Set(before.keys) == ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"])
        #expect(try !CertificateAuthority(directory: directory.path).prepare())
        #expect(try contents(directory) == before)
    }

    @Test("A certificate near its end is made again by the same authority, with the same key")
    func renewal() throws {
        let directory = try TemporaryDirectory()
        try CertificateAuthority(directory: directory.path).prepare()
        let before = try contents(directory)
        let day = 86_400.0
        #expect(
            try !CertificateAuthority(directory: directory.path, now: Date(timeIntervalSinceNow: 360 * day)).prepare())
        #expect(
            try CertificateAuthority(directory: directory.path, now: Date(timeIntervalSinceNow: 370 * day)).prepare())
        let after = try contents(directory)
        #expect(after["server.pem"] != before["server.pem"])
        for name in ["ca.pem", "ca-key.pem", "server-key.pem"] { #expect(after[name] == before[name]) }
    }

    @Test(
        "What is missing, broken or another's is made again",
        arguments: [
            "server.pem", "server-key.pem", "ca.pem", "ca-key.pem",
        ], ["missing", "broken", "another's"])
    func repair(name: String, fault: String) async throws {
        let directory = try TemporaryDirectory()
        let authority = CertificateAuthority(directory: directory.path)
        try authority.prepare()
        let path = directory.path + "/" + name
        switch fault {
        case "missing": try FileManager.default.removeItem(atPath: path)
        case "broken": try Data("-----BEGIN".utf8).write(to: URL(fileURLWithPath: path))
        default:
            let other = try TemporaryDirectory()
            try CertificateAuthority(directory: other.path).prepare()
            try Data(contentsOf: URL(fileURLWithPath: other.path + "/" + name)).write(to: URL(fileURLWithPath: path))
        }
        #expect(try authority.prepare())
        _ = try authority.files.configuration()
        #expect(
            try await openssl("verify", "-CAfile", directory.path + "/ca.pem", directory.path + "/server.pem").status
                == 0)
        #expect(try !authority.prepare())
    }

    @Test("Another name makes another certificate")
    func otherName() throws {
        let directory = try TemporaryDirectory()
        try CertificateAuthority(directory: directory.path).prepare()
        #expect(try CertificateAuthority(directory: directory.path).prepare(names: ["registry.example", "192.0.2.7"]))
        #expect(try !CertificateAuthority(directory: directory.path).prepare(names: ["registry.example"]))
    }

    @Test("A key that is not the certificate's, and files that are missing, are refused with their names")
    func givenFiles() throws {
        let (one, two) = (try TemporaryDirectory(), try TemporaryDirectory())
        try CertificateAuthority(directory: one.path).prepare()
        try CertificateAuthority(directory: two.path).prepare()
        for files in [
            TLSFiles(certificate: one.path + "/server.pem", key: two.path + "/server-key.pem"),
            TLSFiles(certificate: one.path + "/nothing.pem", key: one.path + "/server-key.pem"),
        ] {
            do {
                _ = try files.configuration()
                Issue.record("it was taken")
            } catch {
                #expect(error.description.contains(files.certificate))
            }
        }
    }
}
