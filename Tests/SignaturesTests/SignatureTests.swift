import Foundation
import Signatures
import TestSupport
import Testing

/// Keys, and signatures of a file, made by openssl and minisign.
struct Notary {
    let directory: String
    let message: [UInt8]

    private init(_ directory: String, _ message: [UInt8]) async throws {
        self.directory = directory
        self.message = message
        try Data(message).write(to: URL(fileURLWithPath: directory + "/file"))
        try await sh("openssl genpkey -algorithm ed25519 -out a.key && openssl genpkey -algorithm ed25519 -out b.key")
        try await sh("mkdir keys && for k in a b; do openssl pkey -in $k.key -pubout -out keys/$k.pem; done")
        try await sh("for k in m n; do minisign -G -W -p keys/$k.pub -s $k.key >/dev/null; done")
        try await sh("openssl pkeyutl -sign -rawin -inkey a.key -in file -out raw")
        try await sh("minisign -S -W -s m.key -m file -x prehashed -t 'a comment'")
        try await sh("minisign -S -l -W -s m.key -m file -x legacy")
    }

    static func with(message: [UInt8] = Array("a file".utf8), _ body: (Notary) async throws -> Void) async throws {
        try await withTemporaryDirectory { try await body(try await Notary($0, message)) }
    }

    func sh(_ script: String) async throws {
        try await runSuccessfully("sh", ["-c", "cd \"$1\" && \(script)", "sh", directory])
    }

    func file(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)")))
    }

    var keys: TrustedKeys { TrustedKeys(directory: directory + "/keys") }
}

@Suite("Detached signatures")
struct SignatureTests {
    @Test(
        "by openssl and by minisign, prehashed or not, are known by the key that made them",
        arguments: [("raw", "a"), ("prehashed", "m"), ("legacy", "m")])
    func known(file: String, key: String) async throws {
        for message in [[0], Array("a file".utf8), [UInt8](repeating: 7, count: 300_000)] as [[UInt8]] {
            try await Notary.with(message: message) { notary in
                let signature = try DetachedSignature(parsing: try notary.file(file))
                #expect(signature.isPrehashed == (file == "prehashed"))
                #expect(try signature.signer(of: message, among: notary.keys).name == key)
                #expect(throws: SignatureError.self) {
                    try signature.signer(of: message + [0], among: notary.keys)
                }
                let others = TrustedKeys(keys: notary.keys.keys.filter { $0.name != key })
                let error = #expect(throws: SignatureError.self) { try signature.signer(of: message, among: others) }
                for other in others.keys {
                    #expect("\(error, default: "")".contains(other.name), "it says who is trusted")
                }
            }
        }
    }

    @Test("whose bytes were changed anywhere are refused", arguments: ["raw", "prehashed", "legacy"])
    func changed(file: String) async throws {
        try await Notary.with { notary in
            let good = try notary.file(file)
            // The comments' first line is no part of what is signed.
            let first = file == "raw" ? 0 : (good.firstIndex(of: UInt8(ascii: "\n")) ?? 0) + 1
            for position in stride(from: first, to: good.count - 1, by: 3) where good[position] != UInt8(ascii: "\n") {
                var bad = good
                bad[position] = bad[position] == UInt8(ascii: "x") ? UInt8(ascii: "y") : UInt8(ascii: "x")
                #expect(throws: SignatureError.self, "byte \(position)") {
                    try DetachedSignature(parsing: bad).signer(of: notary.message, among: notary.keys)
                }
            }
        }
    }

    @Test("with another trusted comment are refused, and it says that it is the comment")
    func comment() async throws {
        try await Notary.with { notary in
            try await notary.sh("sed -i 's/a comment/b comment/' prehashed")
            let error = #expect(throws: SignatureError.self) {
                try DetachedSignature(parsing: try notary.file("prehashed")).signer(
                    of: notary.message, among: notary.keys)
            }
            #expect("\(error, default: "")".contains("comment"))
        }
    }

    @Test(
        "of no known form are refused before anything is asked",
        arguments: [
            [], Array("x".utf8), [UInt8](repeating: 0, count: 63), [UInt8](repeating: 0, count: 65),
            Array("untrusted comment: x\nRWQ=\ntrusted comment: y\nAAAA\n".utf8),
            [UInt8](repeating: UInt8(ascii: "\n"), count: 100_000),
        ] as [[UInt8]])
    func unreadable(bytes: [UInt8]) {
        #expect(throws: SignatureError.self) { try DetachedSignature(parsing: bytes) }
    }

    @Test("are checked with the keys that lie there now; what is no key is named and does no harm")
    func keys() async throws {
        try await Notary.with { notary in
            #expect(notary.keys.keys.map(\.name) == ["a", "b", "m", "n"] && notary.keys.broken == [])
            try await notary.sh(
                "rm keys/b.pem keys/n.pub; echo x > keys/bad.pem; : > keys/empty.pub; echo x > keys/README; "
                    + "openssl genpkey -algorithm x25519 | openssl pkey -pubout -out keys/x25519.pem; cp a.key keys/private.pem"
            )
            #expect(notary.keys.keys.map(\.name) == ["a", "m"])
            let broken = notary.keys.broken.joined(separator: "\n")
            for name in ["bad.pem", "empty.pub", "x25519.pem", "private.pem"] { #expect(broken.contains(name)) }
            #expect(!broken.contains("README"))
            #expect(notary.keys.description.contains("a, m") && notary.keys.description.contains("bad.pem"))
            #expect(TrustedKeys(directory: notary.directory + "/none").keys.isEmpty)
        }
    }
}
