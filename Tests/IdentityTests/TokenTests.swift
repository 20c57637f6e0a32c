import Crypto
import Foundation
import JSON
import OCI
import Synchronization
import TestSupport
import Testing

@testable import Identity

@Suite("Tokens")
struct TokenTests {
    private static let secrets = [String(repeating: "n", count: 32), String(repeating: "o", count: 40)]
    private static let start: Int64 = 1_800_000_000

    private final class Clock: Sendable {
        private let seconds = Mutex(TokenTests.start)
        var now: Int64 { seconds.withLock { $0 * 1_000_000_000 + 999_999_999 } }
        func advance(_ count: Int64) { seconds.withLock { $0 += count } }
    }

    private static func keys(_ lines: String = "new \(secrets[0])\nold \(secrets[1])") throws -> SecretKeys {
        try SecretKeys(parsing: lines, for: .tokens)
    }

    private static let policy = """
        users:
          alice: {repositories: {"team/**": [push], "base/*": [pull]}}
          chief: {roles: [operator]}
          agent: {roles: [cluster], cluster: eu-1}
          ci: {repositories: {"team/**": [push]}}
        anonymous: {repositories: {"public/**": [pull]}}
        """

    private static func users() throws -> Htpasswd {
        var users = Htpasswd()
        let hash = try BcryptHash(password: "secret", cost: 4)
        for name in ["alice", "chief", "agent", "nobody"] { try users.set(name, hash) }
        return users
    }

    private static func authenticator(
        _ clock: Clock = Clock(), users: Htpasswd? = nil
    ) throws -> Authenticator {
        Authenticator(
            users: try users ?? Self.users(), policy: try Policy(parsing: policy),
            tokens: TokenSigner(try keys(), now: { clock.now })
        )
    }

    private static func token(
        _ authenticator: Authenticator, _ subject: TokenSubject, _ scopes: String...
    ) throws -> IssuedToken {
        let scope = try #require(TokenScope(parsing: scopes))
        return try #require(authenticator.token(for: subject, asking: scope))
    }

    private static func user(_ authenticator: Authenticator, _ token: String, certified: String? = nil) -> Principal? {
        guard case .user(let user)? = authenticator.bearer("Bearer \(token)", certified: certified) else { return nil }
        return user
    }

    @Test("A token grants what was asked for and what the policy gives, and nothing else")
    func granted() throws {
        let rows: [(subject: TokenSubject, asked: [String], granted: String)] = [
            (.user("alice"), ["repository:team/a:pull"], "repository:team/a:pull"),
            (.user("alice"), ["repository:team/a:push,pull"], "repository:team/a:pull,push"),
            (.user("alice"), ["repository:team/a:*"], "repository:team/a:pull,push,delete"),
            (.user("alice"), ["repository:base/x:*"], "repository:base/x:pull"),
            (.user("alice"), ["repository:base/x:push"], ""),
            (.user("alice"), ["repository:other/x:pull,push"], ""),
            (.user("alice"), ["repository:public/x:pull,push"], "repository:public/x:pull"),
            (
                .user("alice"), ["repository:team/b:pull,push", "repository:base/x:pull"],
                "repository:base/x:pull repository:team/b:pull,push"
            ),
            (
                .user("alice"), ["repository:team/b:pull repository:team/b:push repository:no:pull"],
                "repository:team/b:pull,push"
            ),
            (.user("alice"), ["registry:catalog:*"], "registry:catalog:*"), (.user("alice"), [], ""),
            (.user("alice"), [""], ""),
            (.user("nobody"), ["repository:team/a:pull", "repository:public/x:pull"], "repository:public/x:pull"),
            (.user("agent"), ["repository:team/a:pull,push"], "repository:team/a:pull"),
            (.user("chief"), ["repository:cistern/tiny:pull,operator"], "repository:cistern/tiny:pull"),
            (.certificate("ci"), ["repository:team/a:push"], "repository:team/a:push"),
            (.nobody, ["repository:public/x:pull,push", "repository:team/a:pull"], "repository:public/x:pull"),
            // What nobody knows is left out.
            (
                .user("chief"),
                [
                    "repository(plugin):a:pull", "repository:A/b:pull", "repository:a:fly", "repository:a", "a",
                    "repository:../a:pull", "registry:catalog:pull", "registry:other:*", "::", "repository::pull",
                ], ""
            ),
        ]
        let authenticator = try Self.authenticator()
        for row in rows {
            let scope = try #require(TokenScope(parsing: row.asked), "\(row)")
            #expect(authenticator.token(for: row.subject, asking: scope)?.scope.text == row.granted, "\(row)")
        }
        #expect(TokenScope(parsing: [(0...16).map { "repository:a\($0):pull" }.joined(separator: " ")]) == nil)
    }

    @Test("Whoever holds a token may do what it grants on its repositories, and has no role")
    func use() throws {
        let authenticator = try Self.authenticator()
        let chief = try Self.token(
            authenticator, .user("chief"), "repository:team/a:pull,push repository:team/b:delete")
        let user = try #require(Self.user(authenticator, chief.text))
        #expect(user.name == "chief" && user.roles == [])
        #expect(user.may(.pull, on: "team/a") && user.may(.push, on: "team/a"))
        #expect(!user.may(.pull, on: "team/c") && !user.may(.pull, on: "team/b") && !user.may(.push, on: "team/b"))
        for role in Role.allCases { #expect(!user.may(role)) }
        #expect(!user.may(.operator, on: "team/a") && !user.may(.stage, on: "team/a") && !user.maySpeak(for: "eu-1"))
        #expect(user.scope?.allows(.push, on: "team/b", deletes: true) == true)
        #expect(user.scope?.allows(.push, on: "team/a", deletes: true) == true)
        #expect(user.scope?.allows(.pull, on: "team/b", deletes: true) == false)
        let longest = (0..<16).map { "repository:\(String(repeating: "\($0 % 10)", count: 250))/\(10 + $0):*" }
        let asked = try #require(TokenScope(parsing: longest))
        let large = try #require(authenticator.token(for: .user("chief"), asking: asked))
        #expect(
            Self.user(authenticator, large.text)?.may(.push, on: String(longest[15].dropFirst(11).dropLast(2))) == true)
    }

    /// A token by hand.
    private static func forged(
        secret: String = secrets[0], header: String = #"{"alg":"HS256","kid":"new","typ":"JWT"}"#,
        _ changes: [String: JSONValue?] = [:]
    ) -> String {
        var claims: [String: JSONValue?] = [
            "iss": "cistern", "aud": "cistern", "iat": .integer(start), "exp": .integer(start + 300), "access": [],
            "sub": "ci", "certificate": true,
        ]
        claims.merge(changes) { $1 }
        let payload = JSONValue.object(JSONObject(claims.compactMapValues { $0 }))
        let text = Base64.encodeURL(Array(header.utf8)) + "." + Base64.encodeURL(payload.canonicalBytes)
        let code = HMAC<SHA256>.authenticationCode(
            for: Data(text.utf8), using: SymmetricKey(data: Data(secret.utf8)))
        return text + "." + Base64.encodeURL(Array(code))
    }

    private typealias Row = (what: String, token: String, isGood: Bool)

    private static func header(_ id: String) -> String { #"{"alg":"HS256","kid":"\#(id)","typ":"JWT"}"# }

    private static func keyRows() -> [Row] {
        let swapped = #"{"typ":"JWT","alg":"HS256","kid":"new"}"#
        let more = #"{"alg":"HS256","kid":"new","typ":"JWT","x":1}"#
        return [
            ("as this server signs", forged(), true),
            ("the older key", forged(secret: secrets[1], header: header("old")), true),
            ("the other key's id", forged(header: header("old")), false),
            ("an unknown key", forged(header: header("x")), false),
            ("no key id", forged(header: #"{"alg":"HS256","typ":"JWT"}"#), false),
            ("the header's members in another order", forged(header: swapped), false),
            ("a member more", forged(header: more), false),
            ("another algorithm", forged(header: #"{"alg":"HS512","kid":"new","typ":"JWT"}"#), false),
            ("another secret", forged(secret: secrets[1]), false),
            ("an empty secret", forged(secret: ""), false),
        ]
    }

    private static func formRows() -> [Row] {
        let good = forged()
        let parts = good.split(separator: ".").map(String.init)
        let none = Base64.encodeURL(Array(#"{"alg":"none","typ":"JWT"}"#.utf8))
        let other = String(forged(["sub": "chief"]).split(separator: ".")[1])
        let flipped = (parts[2].first == "A" ? "B" : "A") + parts[2].dropFirst()
        return [
            ("no algorithm, no signature", "\(none).\(parts[1]).", false),
            ("no algorithm", "\(none).\(parts[1]).\(parts[2])", false),
            ("no signature", "\(parts[0]).\(parts[1]).", false),
            ("two parts", "\(parts[0]).\(parts[1])", false),
            ("four parts", "\(good).x", false),
            ("a part doubled", "\(parts[0]).\(good)", false),
            ("a byte less", String(good.dropLast()), false),
            ("a byte more", "\(good)A", false),
            ("padded", "\(good)=", false),
            ("a bit of the signature", "\(parts[0]).\(parts[1]).\(flipped)", false),
            ("other claims", "\(parts[0]).\(other).\(parts[2])", false),
            ("too long", forged(["x": .string(String(repeating: "x", count: 8000))]), false),
            ("nothing", "", false), ("dots", "..", false),
        ]
    }

    private static func claimRows() -> [Row] {
        let role: JSONValue = [["type": "role", "name": "operator", "actions": ["*"]]]
        func end(_ seconds: Int64) -> String { forged(["exp": .integer(seconds)]) }
        return [
            ("another issuer", forged(["iss": "other"]), false),
            ("no issuer", forged(["iss": nil]), false),
            ("another audience", forged(["aud": "other"]), false),
            ("two audiences", forged(["aud": ["cistern"]]), false),
            ("the last second", end(start + 1), true),
            ("expired", end(start), false),
            ("a clock that was ahead", end(start + 360), true),
            ("for longer than five minutes", end(start + 361), false),
            ("for ever", end(.max), false), ("before all time", end(.min), false),
            ("no end", forged(["exp": nil]), false),
            ("an end as text", forged(["exp": "1800000300"]), false),
            ("no access", forged(["access": nil]), false),
            ("access of another form", forged(["access": ["repository:a:pull"]]), false),
            ("a role as access", forged(["access": role]), false),
            ("a subject that is no text", forged(["sub": 1]), false),
        ]
    }

    @Test("A token is good with its key, issuer, audience and time, and nothing in it chooses how it is checked")
    func verified() throws {
        let clock = Clock()
        for row in Self.keyRows() + Self.formRows() + Self.claimRows() {
            let authenticator = try Self.authenticator(clock)
            // Whether it is remembered makes no difference.
            for _ in 0..<2 {
                let user = Self.user(authenticator, row.token, certified: "ci")
                #expect((user != nil) == row.isGood, "\(row.what)")
            }
        }
        let (authenticator, good) = (try Self.authenticator(clock), Self.forged())
        for scheme in ["bearer", "BEARER"] { #expect(TokenSigner.isToken("\(scheme) \(good)")) }
        for header in ["Bearer", "Basic x", "Bearer\t\(good)", "", good] { #expect(!TokenSigner.isToken(header)) }
        #expect(Self.user(authenticator, " \(good)", certified: "ci") == nil)
    }

    @Test("A token ends after five minutes, remembered or not, and with its user, his password and his rights")
    func ends() throws {
        let clock = Clock()
        let (users, policy) = (try Self.users(), try Policy(parsing: Self.policy))
        let authenticator = try Self.authenticator(clock, users: users)
        let token = try Self.token(authenticator, .user("alice"), "repository:team/a:pull,push").text
        clock.advance(299)
        #expect(Self.user(authenticator, token)?.may(.push, on: "team/a") == true)
        clock.advance(1)
        #expect(Self.user(authenticator, token) == nil)

        let next = try Self.token(authenticator, .user("alice"), "repository:team/a:pull,push").text
        #expect(Self.user(authenticator, next) != nil)
        authenticator.replace(users: users, policy: Policy())
        #expect(Self.user(authenticator, next)?.may(.pull, on: "team/a") == false)
        authenticator.replace(users: users, policy: policy)
        #expect(Self.user(authenticator, next)?.may(.push, on: "team/a") == true)
        var others = users
        try others.set("alice", try BcryptHash(password: "another", cost: 4))
        authenticator.replace(users: others, policy: policy)
        #expect(Self.user(authenticator, next) == nil)
        others.remove("alice")
        authenticator.replace(users: others, policy: policy)
        #expect(Self.user(authenticator, next) == nil)
        authenticator.replace(users: users, policy: policy)
        #expect(Self.user(authenticator, next) != nil)
    }

    @Test("While keys change both are good; a key that is taken out ends its tokens")
    func rotation() throws {
        let authenticator = try Self.authenticator()
        authenticator.replace(tokenKeys: try Self.keys("old \(Self.secrets[1])"))
        let byOld = try Self.token(authenticator, .user("alice")).text
        #expect(Self.user(authenticator, byOld) != nil)
        authenticator.replace(tokenKeys: try Self.keys())
        let byNew = try Self.token(authenticator, .user("alice")).text
        #expect(Self.user(authenticator, byOld) != nil && Self.user(authenticator, byNew) != nil)
        authenticator.replace(tokenKeys: try Self.keys("new \(Self.secrets[0])"))
        #expect(Self.user(authenticator, byOld) == nil && Self.user(authenticator, byNew) != nil)
    }

    @Test("A certificate's token is good with that certificate alone, and nobody's is nobody's")
    func others() throws {
        let authenticator = try Self.authenticator()
        let token = try Self.token(authenticator, .certificate("ci"), "repository:team/a:push").text
        for _ in 0..<2 {
            #expect(Self.user(authenticator, token, certified: "ci")?.may(.push, on: "team/a") == true)
            #expect(Self.user(authenticator, token, certified: "alice") == nil)
            #expect(Self.user(authenticator, token) == nil)
        }
        let open = try Self.token(authenticator, .nobody, "repository:public/x:pull repository:public/y:push").text
        guard case .nobody(let nobody)? = authenticator.bearer("Bearer \(open)", certified: nil) else {
            Issue.record("nobody's token is not good")
            return
        }
        #expect(nobody.may(.pull, on: "public/x") && !nobody.may(.pull, on: "public/y"))
        #expect(!nobody.may(.push, on: "public/y"))
    }

    @Test("Without keys there are no tokens")
    func off() throws {
        let authenticator = Authenticator(users: try Self.users(), policy: try Policy(parsing: Self.policy))
        #expect(authenticator.token(for: .nobody, asking: TokenScope())?.text == nil)
        #expect(Self.user(authenticator, Self.forged(), certified: "ci") == nil)
    }

    @Test(
        "An empty name with an empty password is nobody's",
        arguments: [
            ("Basic Og==", true), ("basic Og==", true), ("Basic OnBhc3M=", false), ("Basic dXNlcjo=", false),
            ("Bearer Og==", false), ("Basic oG==", false), ("", false),
        ])
    func empty(header: String, isEmpty: Bool) {
        #expect(BasicCredentials.areEmpty(header) == isEmpty)
    }
}
