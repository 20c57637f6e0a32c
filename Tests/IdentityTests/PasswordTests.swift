import Foundation
import Glibc
import TestSupport
import Testing

@testable import Identity

@Suite("Passwords and password files")
struct PasswordTests {
    @Test(
        "Known bcrypt vectors",
        arguments: [
            ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
            ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
            ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
            (
                "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored",
                "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"
            ),
            ("password", "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe"),
        ])
    func vectors(password: String, text: String) throws {
        let hash = try #require(BcryptHash(text))
        #expect(hash.matches(password))
        #expect(!hash.matches(password + "x") || password.utf8.count > 72)
        #expect(!hash.matches(""))
    }

    @Test("A hash that was made matches its password and no other, and shows itself nowhere")
    func made() throws {
        let hash = try BcryptHash(password: "correct horse", cost: 4)
        #expect(hash.matches("correct horse"))
        #expect(!hash.matches("correct horsf"))
        #expect(try BcryptHash(password: "correct horse", cost: 4) != hash)
        let secret = hash.text.dropFirst(7)
        var dumped = ""
        dump(hash, to: &dumped)
        #expect(!"\(hash)\(String(reflecting: hash))\(dumped)".contains(secret))
        var users = Htpasswd()
        try users.set("u", hash)
        dumped = ""
        dump(users, to: &dumped)
        #expect(!"\(users)\(String(reflecting: users))\(dumped)".contains(secret))
    }

    @Test("Passwords that bcrypt can't hash are refused", arguments: ["", "a\0b", String(repeating: "x", count: 73)])
    func refused(password: String) {
        #expect(throws: AuthenticationError.self) { try BcryptHash(password: password, cost: 4) }
    }

    @Test(
        "Other schemes are refused by name and without repeating the hash",
        arguments: [
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", "Apache's MD5"), ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "SHA-1"),
            ("$5$salt$xyz", "SHA-256"), ("$6$salt$xyz", "SHA-512"), ("$y$j9T$abc$def", "yescrypt"),
            ("rqXexS6ZhobKA", "not hashed with bcrypt"), ("plain", "not hashed with bcrypt"), ("", "not hashed"),
            ("$2y$31$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe", "cost"),
            ("$2y$05$short", "not whole"),
            ("$2y$16$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe", "the cost 16, and 14 is the highest"),
        ])
    func schemes(hash: String, expected: String) {
        do {
            _ = try Htpasswd(parsing: "# users\nalice:\(hash)\n")
            Issue.record("it was taken")
        } catch {
            #expect(error.description.contains("line 2"))
            #expect(error.description.contains(expected))
            if hash.count > 8 { #expect(!error.description.contains(hash.dropFirst(6))) }
        }
    }

    @Test("Lines that are malformed are refused", arguments: ["alice", ":x", "a\u{1}:x"])
    func malformed(line: String) {
        #expect(throws: AuthenticationError.self) { try Htpasswd(parsing: line) }
    }

    @Test("A file without users is refused for a server, and can be given its first user")
    func noUsers() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/users"
        for text in ["", "\n", "# nobody\n"] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            #expect(throws: AuthenticationError.self) { try Htpasswd.serving(path) }
            #expect(try Htpasswd(path: path).users == [])
            let hash = try BcryptHash(password: "x", cost: 4)
            try Htpasswd.update(path) { users throws(AuthenticationError) in try users.set("first", hash) }
            #expect(try Htpasswd.serving(path).users == ["first"])
        }
    }

    @Test(
        "What others can change, or read though it is secret, is named; what is missing is not",
        arguments: [
            (0o600, "", ""), (0o640, "read", ""), (0o604, "read", ""), (0o610, "read", ""), (0o660, "change", "change"),
            (0o602, "change", "change"), (0o666, "change", "change"), (0o644, "read", ""),
        ])
    func weaknesses(mode: mode_t, secret: String, open: String) throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/file"
        #expect(PrivateFile.weaknesses(secret: [path]).isEmpty)
        try Data().write(to: URL(fileURLWithPath: path))
        try #require(chmod(path, mode) == 0)
        for (found, expected) in [
            (PrivateFile.weaknesses(secret: [path]), secret),
            (PrivateFile.weaknesses(secret: [], public: [path]), open),
        ] {
            #expect(found.count == (expected.isEmpty ? 0 : 1))
            #expect(found.allSatisfy { $0.contains("can \(expected) the file \(path)") && $0.contains("chmod") })
        }
        try #require(chmod(directory.path, 0o777) == 0)
        #expect(PrivateFile.weaknesses(secret: [], public: [directory.path]).count == 1)
    }

    @Test("A user twice is refused")
    func twice() throws {
        let line = "a:" + (try BcryptHash(password: "x", cost: 4)).text
        #expect(throws: AuthenticationError.self) { try Htpasswd(parsing: "\(line)\n\(line)\n") }
    }

    @Test("Users are added, changed and removed in the file; comments and order stay; the file is its owner's")
    func editing() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/users"
        let hash = try BcryptHash(password: "x", cost: 4)
        try Data("# ours\n\nfirst:\(hash.text)\r\nsecond:\(hash.text)".utf8).write(to: URL(fileURLWithPath: path))
        let other = try BcryptHash(password: "y", cost: 4)
        let removed = try Htpasswd.update(path) { users throws(AuthenticationError) in
            try users.set("first", other)
            try users.set("third", other)
            return [users.remove("second"), users.remove("nobody")]
        }
        #expect(removed == [true, false])
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(text == "# ours\n\nfirst:\(other.text)\nthird:\(other.text)\n")
        #expect(try Htpasswd(path: path).users == ["first", "third"])
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
        #expect(throws: AuthenticationError.self) {
            try Htpasswd.update(path) { users throws(AuthenticationError) in try users.set("a:b", other) }
        }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
    }

    @Test("Changes by many at once are all there", .timeLimit(.minutes(5)))
    func concurrent() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/users"
        let hash = try BcryptHash(password: "x", cost: 4)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<20 {
                group.addTask {
                    try Htpasswd.update(path) { users throws(AuthenticationError) in
                        try users.set("user\(number)", hash)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(Set(try Htpasswd(path: path).users) == Set((0..<20).map { "user\($0)" }))
    }

    @Test(
        "Basic credentials",
        arguments: [
            ("Basic dXNlcjpwYXNz", "user", "pass"), ("basic dXNlcjpwYXNz", "user", "pass"),
            ("Basic dXNlcjo=", "user", ""), ("Basic dTphOmI6Yw==", "u", "a:b:c"), ("Basic dcOpOsOp", "ué", "é"),
        ])
    func credentials(header: String, user: String, password: String) throws {
        let credentials = try #require(BasicCredentials(header))
        #expect(credentials.user == user)
        #expect(credentials.password == password)
    }

    @Test(
        "What is no Basic credentials",
        arguments: [
            "", "Basic", "Basic ", "Bearer dXNlcjpwYXNz", "Basic dXNlcg==", "Basic OnBhc3M=", "Basic dXNlcjpwYXN",
            "Basic !!!!", "Basic dXNlcjpwYXNz dXNl", "Basic ====", "Basic /zp4",
            "Basic " + String(repeating: "QUFB", count: 1000),
        ])
    func noCredentials(header: String) {
        #expect(BasicCredentials(header) == nil)
    }
}
