import Foundation
import TestSupport
import Testing

@testable import StagingService

@Suite(".cfignore")
struct IgnoreRulesTests {
    @Test(
        "leaves out what gitignore(5) says",
        arguments: [
            ("", ["a", "b/c"], [".git/", "x/.git/", ".DS_Store", "manifest.yml", ".cfignore"]),
            ("", ["sub/manifest.yml"], []),
            ("*.log", ["log", "a.logs"], ["a.log", "b/c.log", "d.log/"]),
            ("/build", ["x/build"], ["build", "build/"]),
            ("build/", ["build", "x/build"], ["build/", "x/build/"]),
            ("doc/*.txt", ["doc/a/b.txt", "x/doc/a.txt"], ["doc/a.txt"]),
            ("**/tmp", [], ["tmp", "a/tmp", "a/b/tmp/"]),
            ("a/**/z", ["a", "z"], ["a/z", "a/b/z", "a/b/c/z"]),
            ("a/**", ["a", "b"], ["a/b", "a/b/c"]),
            ("*\n!keep\n!/dir/", ["keep", "x/keep", "dir/"], ["other", "dir"]),
            ("# no\n\\#yes\n\\!bang", ["no", "# no"], ["#yes", "!bang"]),
            ("a[0-9]b\n[!x]y\n[]]z\n[", ["axb", "xy"], ["a5b", "zy", "]z", "["]),
            ("trail  \nspace\\ ", ["trail  "], ["trail", "space "]),
            ("?.c", [".c", "ab.c"], ["a.c"]),
            ("\\*", ["a"], ["*"]),
            ("a\r\nb\r\n", ["c"], ["a", "b"]),
            ("/", ["a"], []),
        ] as [(String, [String], [String])])
    func rules(_ text: String, _ kept: [String], _ excluded: [String]) throws {
        let rules = try #require(IgnoreRules(text))
        func excludes(_ path: String) -> Bool {
            let isDirectory = path.hasSuffix("/")
            return rules.excludes(isDirectory ? String(path.dropLast()) : path, isDirectory: isDirectory)
        }
        for path in kept { #expect(!excludes(path), "\(path)") }
        for path in excluded { #expect(excludes(path), "\(path)") }
    }

    @Test("means what git means by it", arguments: 0..<UInt64(40))
    func git(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        func pick(_ choices: [String]) -> String { choices.randomElement(using: &random) ?? "" }
        let parts = ["a", "b", "*", "**", "?", "a*", "[ab]", "ab", "/", "!", "\\a"]
        let lines = (0..<4).map { _ in
            (0..<Int.random(in: 1...5, using: &random)).map { _ in pick(parts) }.joined()
        }
        let names = ["a", "b", "ab", "ba", "aa"]
        let paths = Set(
            (0..<30).map { _ in
                (0..<Int.random(in: 1...4, using: &random)).map { _ in pick(names) }.joined(separator: "/")
            }
        ).sorted()
        let rules = try #require(IgnoreRules(lines.joined(separator: "\n")))
        try await withTemporaryDirectory { directory in
            try await runSuccessfully("git", ["init", "-q", directory])
            try (lines.joined(separator: "\n") + "\n").write(
                toFile: directory + "/.git/info/exclude", atomically: true, encoding: .utf8)
            let told = try await run(
                "git", ["-C", directory, "check-ignore", "--no-index", "--stdin"],
                input: paths.joined(separator: "\n") + "\n")
            let ignored = Set(told.output.split(separator: "\n").map(String.init))
            for path in paths {
                // git looks at the directories above first, as our caller does.
                let parts = path.split(separator: "/")
                let own = (1...parts.count).contains { count in
                    rules.excludes(parts[..<count].joined(separator: "/"), isDirectory: count < parts.count)
                }
                #expect(own == ignored.contains(path), "\(path) of \(lines)")
            }
        }
    }
}
