import Crypto
import Foundation
import Logging
import TestSupport
import Testing

@testable import Identity

@Suite("Signed URLs")
struct URLSignerTests {
    private static let secrets = [String(repeating: "n", count: 32), String(repeating: "o", count: 40)]
    private static let seconds: Int64 = 1_800_000_000

    private static func signer(_ lines: String = "new \(secrets[0])\nold \(secrets[1])") throws -> URLSigner {
        URLSigner(try SecretKeys(parsing: lines, for: .urls), now: { seconds * 1_000_000_000 + 999_999_999 })
    }

    /// The signature as a client computes it.
    private static func signature(
        _ method: String, _ path: String, _ secret: String = secrets[0], _ expires: Int64 = seconds + 3600
    ) -> String {
        let text = Data("\(method) \(path) \(secret) \(expires)".utf8)
        let code = HMAC<SHA256>.authenticationCode(for: text, using: SymmetricKey(data: Data(secret.utf8)))
        return code.map { String(format: "%02x", $0) }.joined()
    }

    private static func verdict(_ signer: URLSigner, _ method: String, _ target: String) -> URLSigner.Verdict {
        let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
        return signer.verdict(on: method, path: parts[0], query: parts.count == 2 ? parts[1] : "")
    }

    @Test("What is signed has the parameters and the signature that clients compute themselves")
    func form() throws {
        let rows: [(method: URLSigner.Method, target: String, signed: String, before: String)] = [
            (.get, "/packages/a", "/packages/a", "/packages/a?"),
            (.put, "/droplets/a%20b/c", "/droplets/a%20b/c", "/droplets/a%20b/c?"),
            (.put, "/droplets/a?stack=tiny", "/droplets/a?stack=tiny", "/droplets/a?stack=tiny&"),
            (.put, "/packages/a?async=true", "/packages/a", "/packages/a?async=true&"),
            (.post, "/buildpacks?signature=x&expires=1&AccessKeyId=y", "/buildpacks", "/buildpacks?"),
        ]
        for row in rows {
            let signature = Self.signature(row.method.rawValue, row.signed)
            #expect(
                try Self.signer().sign(row.method, row.target)
                    == "\(row.before)signature=\(signature)&expires=\(Self.seconds + 3600)&AccessKeyId=new")
        }
    }

    @Test("A signature is good for its method, its path, its time and its key, and for nothing else")
    func verdicts() throws {
        let path = "/droplets/a/b"
        func target(
            _ target: String = path, method: String = "PUT", signed: String = path, key: String = "new",
            secret: String = Self.secrets[0], for length: Int64 = 3600
        ) -> String {
            let signature = Self.signature(method, signed, secret, Self.seconds + length)
            return target + (target.contains("?") ? "&" : "?")
                + "signature=\(signature)&expires=\(Self.seconds + length)&AccessKeyId=\(key)"
        }
        let good = target()
        let keyless = String(good.prefix { $0 != "&" }) + "&expires=\(Self.seconds + 3600)"
        let rows: [(what: String, method: String, target: String, isGood: Bool)] = [
            ("as signed", "PUT", good, true),
            (
                "parameters in another order", "PUT", "\(path)?AccessKeyId=new&" + keyless.dropFirst(path.count + 1),
                true
            ),
            ("async is left out", "PUT", target("\(path)?async=true"), true),
            ("async and verb, as the controller's client appends them", "PUT", target() + "&async=true&verb=put", true),
            ("the other key", "PUT", target(key: "old", secret: Self.secrets[1]), true),
            ("a query that was signed", "PUT", target("\(path)?stack=x", signed: "\(path)?stack=x"), true),
            ("GET", "GET", target(method: "GET"), true),
            ("HEAD by GET's", "HEAD", target(method: "GET"), true),
            ("POST", "POST", target(method: "POST"), true),
            ("the last second", "PUT", target(for: 0), true),
            ("a client whose clock is ahead", "PUT", target(for: 3700), true),
            ("HEAD by its own", "HEAD", target(method: "HEAD"), false),
            ("DELETE", "DELETE", target(method: "DELETE"), false),
            ("PATCH", "PATCH", target(method: "PATCH"), false),
            ("another method", "GET", good, false),
            ("another path", "PUT", target("/droplets/a/c"), false),
            ("the same path, escaped", "PUT", target("/droplets/%61/b"), false),
            ("the same path, not escaped", "PUT", target(signed: "/droplets/%61/b"), false),
            ("escapes of another case", "PUT", target("/droplets/%2F/b", signed: "/droplets/%2f/b"), false),
            ("a slash more", "PUT", target("\(path)/"), false),
            ("a query that was not signed", "PUT", target("\(path)?stack=x"), false),
            ("another query", "PUT", target("\(path)?stack=x", signed: "\(path)?stack=y"), false),
            ("async, escaped", "PUT", target("\(path)?%61sync=true"), false),
            ("expired", "PUT", target(for: -1), false),
            ("for longer than an hour", "PUT", target(for: 4000), false),
            ("no key id", "PUT", keyless, false),
            ("an empty key id", "PUT", target(key: ""), false),
            ("an empty key id and secret", "PUT", target(key: "", secret: ""), false),
            ("an unknown key", "PUT", target(key: "none"), false),
            ("the wrong key's id", "PUT", target(key: "old"), false),
            ("two key ids", "PUT", good + "&AccessKeyId=old", false),
            ("two signatures", "PUT", good + "&signature=x", false),
            ("an empty signature", "PUT", "\(path)?signature=&expires=\(Self.seconds + 1)&AccessKeyId=new", false),
            ("a short signature", "PUT", good.replacing(/signature=../, with: "signature="), false),
            ("capitals", "PUT", good.replacing(/signature=(\w+)/) { "signature=\($0.output.1.uppercased())" }, false),
            ("another time", "PUT", good.replacing("\(Self.seconds + 3600)", with: "\(Self.seconds + 3599)"), false),
            ("no time", "PUT", good.replacing("expires=", with: "expired="), false),
            ("a time that is none", "PUT", good.replacing("expires=", with: "expires=-"), false),
            ("a time that overflows", "PUT", good.replacing("expires=", with: "expires=9999999999"), false),
        ]
        let signer = try Self.signer()
        for row in rows {
            let verdict = Self.verdict(signer, row.method, row.target)
            if row.isGood {
                #expect(verdict == .good, "\(row.what)")
            } else {
                guard case .refused(let reason) = verdict else {
                    Issue.record("\(row.what): \(verdict)")
                    continue
                }
                #expect(!reason.contains(Self.secrets[0]) && !reason.contains("new"), "\(row.what)")
            }
        }
        for target in [path, "\(path)?expires=1&AccessKeyId=new", "\(path)?%73ignature=x"] {
            #expect(Self.verdict(signer, "PUT", target) == .unsigned)
        }
    }

    @Test("While keys change both are good; a key that is taken out signs and verifies nothing any more")
    func rotation() throws {
        let signer = try Self.signer("old \(Self.secrets[1])")
        let byOld = signer.sign(.get, "/packages/a")
        signer.replace(try SecretKeys(parsing: "new \(Self.secrets[0])\nold \(Self.secrets[1])", for: .urls))
        let byNew = signer.sign(.get, "/packages/a")
        #expect(byNew.hasSuffix("=new"))
        #expect(Self.verdict(signer, "GET", byOld) == .good && Self.verdict(signer, "GET", byNew) == .good)
        signer.replace(try SecretKeys(parsing: "new \(Self.secrets[0])", for: .urls))
        #expect(Self.verdict(signer, "GET", byNew) == .good)
        #expect(Self.verdict(signer, "GET", byOld) == .refused(reason: "the key is unknown"))
    }

    @Test("Keys that can't be used are refused, and no text of them is repeated")
    func badKeys() throws {
        let long = String(repeating: "s", count: 32)
        let rows = [
            "", "# nothing\n\n", "a", "a ", "a \(long.dropLast())", "a \(long) more", "a\u{e9} \(long)", "a/b \(long)",
            "\(String(repeating: "i", count: 65)) \(long)", "a \(String(repeating: "s", count: 257))",
            "a \(long)\u{e9}", "a \(long)\na \(long)x", "a \(long)\nb \(long)\nc \(long)",
        ]
        for text in rows {
            do {
                _ = try SecretKeys(parsing: text, for: .urls)
                Issue.record("taken: \(text)")
            } catch {
                #expect(!"\(error)".contains("sss") && !"\(error)".contains("iii"))
            }
        }
        let keys = try SecretKeys(parsing: "# two\r\nnew \(long)\r\n\told   \(long)x\n", for: .urls)
        #expect(keys.current.id == "new" && keys.previous?.secret == long + "x")
        var dumped = "\(keys) \(String(reflecting: keys))"
        dump(keys, to: &dumped)
        #expect(!dumped.contains("sss"))
    }

    @Test("A first start makes a key that only its owner can read; a later start keeps it")
    func firstStart() throws {
        let directory = try TemporaryDirectory()
        #expect(try SecretKeys.prepare(data: directory.path, for: .urls))
        let path = SecretKeys.path(data: directory.path, for: .urls)
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
        let made = try SecretKeys(path: path, for: .urls)
        #expect(made.current.secret.utf8.count >= 32 && made.previous == nil)
        #expect(try !SecretKeys.prepare(data: directory.path, for: .urls))
        #expect(try SecretKeys(path: path, for: .urls).current.secret == made.current.secret)
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        #expect(throws: AuthenticationError.self) { try SecretKeys(path: path, for: .urls) }
    }
}
