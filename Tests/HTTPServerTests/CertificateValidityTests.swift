import Foundation
import Logging
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity
@testable import Logs

@Suite("Certificates that are no longer valid, not yet, or not for long", .timeLimit(.minutes(5)))
struct CertificateValidityTests {
    private static let day: Int64 = 86_400

    private struct Setup {
        let directory: TemporaryDirectory
        let made = Date()
        let tls: ServerTLS
        let reloader: CredentialReloader
        let log = LogLines()
        let sink: LogSink
        private let clock: Clock

        private final class Clock: Sendable { let seconds = Mutex(Int64(0)) }

        init(daysAfterMaking days: Int64) throws {
            directory = try TemporaryDirectory()
            let base = directory.path
            try CertificateAuthority(directory: base, now: made).prepare()
            try Htpasswd().text.write(toFile: base + "/users", atomically: true, encoding: .utf8)
            try "".write(toFile: base + "/policy.yaml", atomically: true, encoding: .utf8)
            let clock = Clock()
            self.clock = clock
            tls = try ServerTLS(
                TLSFiles(certificate: base + "/server.pem", key: base + "/server-key.pem"),
                now: { clock.seconds.withLock { $0 } })
            sink = LogSink(maximum: 1 << 20, write: log.add)
            let sink = sink
            reloader = CredentialReloader(
                users: base + "/users", policy: base + "/policy.yaml",
                authenticator: Authenticator(users: Htpasswd(), policy: try Policy(path: base + "/policy.yaml")),
                others: tls.reloaded,
                logger: Logger(label: "test") { JSONLogHandler(label: $0, level: .debug, sink: sink) })
            pass(days: days, sinceMaking: true)
        }

        func pass(days: Int64, sinceMaking: Bool = false) {
            clock.seconds.withLock {
                $0 = (sinceMaking ? Int64(made.timeIntervalSince1970) : $0) + days * CertificateValidityTests.day
            }
        }

        /// The warnings about certificates.
        func warnings() -> [String] {
            sink.flush()
            return log.lines.filter { $0.contains("certificates are not valid, or not for long") }
        }
    }

    @Test(
        "A start says it, and so does /readyz, with which the server is ready all the same",
        arguments: [
            (0, nil, nil), (382, nil, nil), (384, "expires in 1", "expires soon"), (396, "expires in", "expires soon"),
            (398, "expired", "expired"), (-1, "is not valid before", "not yet valid"),
        ] as [(Int64, String?, String?)])
    func start(days: Int64, sentence: String?, ready: String?) async throws {
        let setup = try Setup(daysAfterMaking: days)
        var memory = setup.reloader.memory
        for _ in 0..<5 { setup.reloader.look(&memory) }
        let warnings = setup.warnings()
        #expect(warnings.count == (sentence == nil ? 0 : 1), "\(warnings)")
        if let sentence {
            #expect(warnings.first?.contains(sentence) == true, "\(warnings)")
            #expect(warnings.first?.contains(setup.directory.path + "/server.pem") == true)
            #expect(warnings.first?.contains(#""level":"warning""#) == true)
        }
        #expect(try await setup.tls.readiness.check() == ready)
    }

    @Test("It is said again each day, and no more once another certificate was put there")
    func days() async throws {
        let setup = try Setup(daysAfterMaking: 0)
        var memory = setup.reloader.memory
        for _ in 0..<5 { setup.reloader.look(&memory) }
        #expect(setup.warnings() == [])
        setup.pass(days: 395)
        for _ in 0..<7200 { setup.reloader.look(&memory) }
        #expect(setup.warnings().count == 1, "the server runs on while its certificate ages")
        setup.pass(days: 3)
        for _ in 0..<7200 { setup.reloader.look(&memory) }
        #expect(setup.warnings().count == 2)
        #expect(setup.warnings().last?.contains("expired") == true)

        let new = try TemporaryDirectory()
        try CertificateAuthority(directory: new.path, now: setup.made.addingTimeInterval(398 * 86_400)).prepare()
        for name in ["server.pem", "server-key.pem"] {
            try String(contentsOfFile: "\(new.path)/\(name)", encoding: .utf8)
                .write(toFile: "\(setup.directory.path)/\(name)", atomically: true, encoding: .utf8)
        }
        for _ in 0..<7200 { setup.reloader.look(&memory) }
        #expect(setup.warnings().count == 2)
        #expect(try await setup.tls.readiness.check() == nil)
    }

    @Test("The authorities of clients' certificates count too, and a reload that brings an expired one says it")
    func authorities() async throws {
        let setup = try Setup(daysAfterMaking: 0)
        let old = try TemporaryDirectory()
        try CertificateAuthority(directory: old.path, now: setup.made.addingTimeInterval(-3651 * 86_400)).prepare()
        let base = setup.directory.path
        let tls = try ServerTLS(
            TLSFiles(
                certificate: base + "/server.pem", key: base + "/server-key.pem",
                clientAuthority: old.path + "/ca.pem"))
        #expect(try await tls.readiness.check() == "expired")

        var memory = setup.reloader.memory
        for _ in 0..<5 { setup.reloader.look(&memory) }
        for name in ["server.pem", "server-key.pem"] {
            try String(contentsOfFile: "\(old.path)/\(name)", encoding: .utf8)
                .write(toFile: "\(base)/\(name)", atomically: true, encoding: .utf8)
        }
        for _ in 0..<5 { setup.reloader.look(&memory) }
        #expect(setup.warnings().count == 1)
    }
}
