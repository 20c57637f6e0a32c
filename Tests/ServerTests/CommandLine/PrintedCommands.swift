import Foundation
import TestSupport
import Testing

/// The commands that people are told to type: by the README, the articles, the messages and help of the sources, and the
/// demo. What stands there for something else (`\(stack)`) is `…` here.
enum PrintedCommands {
    private static let programs: Set<String> = [
        "(umask", "cistern", "crane", "docker", "htpasswd", "kubectl", "minisign", "openssl", "oras", "podman",
        "skopeo",
    ]
    private static let verbs = "serve|rootfs|droplet|stage|buildpack|gc|verify|usage|operation|user"

    /// Everything between back quotes, and the lines of fenced blocks without their comments, each as one line.
    static func code(in markdown: String) -> [String] {
        markdown.components(separatedBy: "```").enumerated().flatMap { index, block -> [String] in
            guard index.isMultiple(of: 2) else { return block.split(separator: "\n").map { withoutComment($0) } }
            return block.split(separator: "`", omittingEmptySubsequences: false).enumerated()
                .filter { !$0.offset.isMultiple(of: 2) }
                .map { $0.element.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
        }
    }

    /// Those of the README and the articles.
    static func documented() throws -> Set<String> {
        let articles = try files(below: "Sources", suffix: ".md")
        try #require(articles.count > 10)
        return try Set((["README.md"] + articles).flatMap { code(in: try text($0)) }.filter(isCommand))
    }

    /// What the sources' messages have in them.
    struct Said {
        /// Between back quotes, or as a line of its own in a literal of several lines.
        var commands: Set<String> = []
        /// Flags in sentences, with the file: `give --listen`.
        var flags: Set<[String]> = []
        /// Statements with a command that stands there in another way, so that it could not be found.
        var unquoted: [String] = []
    }

    static func said() throws -> Said {
        let sources = try files(below: "Sources", suffix: ".swift")
        try #require(sources.count > 100)
        var said = Said()
        let line = try Regex("(cistern (\(verbs))|podman|skopeo|docker|kubectl|export [A-Z_]+)[ =].*")
        let mention = try Regex("cistern (\(verbs))\\b")
        for file in sources {
            let code = try text(file).split(separator: "\n").filter { !$0.drop { $0 == " " }.hasPrefix("//") }
                .joined(separator: "\n").replacing(/\\\n */, with: "")
            for statement in code.split(separator: "\n") {
                let trimmed = withoutInterpolations(statement.trimmingCharacters(in: .whitespaces))
                if trimmed.wholeMatch(of: line) != nil {
                    said.commands.insert(withoutComment(Substring(trimmed)))
                    continue
                }
                let parts = trimmed.split(separator: "`", omittingEmptySubsequences: false).map(String.init)
                for (index, part) in parts.enumerated() {
                    if index.isMultiple(of: 2) {
                        if part.contains(mention) { said.unquoted.append("\(file): \(trimmed)") }
                        // A flag alone in quotes is an argument of a program that is started.
                        for match in part.replacing(/"--[a-z0-9-]+=?"/, with: "").matches(of: /--[a-z][a-z0-9-]+/) {
                            said.flags.insert([file, String(match.output)])
                        }
                    } else if isCommand(part) {
                        said.commands.insert(part)
                    }
                }
            }
        }
        return said
    }

    /// Those that the demo ends with, as it prints them.
    static func demonstrated() async throws -> [String] {
        let script = """
            stack=S shell=(--shell /bin/sh) rootfs1=TINY.tar.gz
            eval "$(sed -n '/^cat <<TXT/,/^TXT/p' .ci/demo)"
            """
        let shown = try await runSuccessfully("bash", ["-euc", script], directory: Programs.repository).output
        return shown.split(separator: "\n").map { withoutComment($0) }
    }

    private static func isCommand(_ text: String) -> Bool {
        let words = text.split(separator: " ")
        return words.count > 1 && programs.contains(String(words[0]))
    }

    private static func withoutComment(_ line: Substring) -> String {
        (line.components(separatedBy: " #").first ?? "").trimmingCharacters(in: .whitespaces)
    }

    private static func withoutInterpolations(_ text: String) -> String {
        var result = ""
        var rest = text[...]
        while let start = rest.range(of: "\\(") {
            result += rest[..<start.lowerBound] + "…"
            var depth = 1
            rest = rest[start.upperBound...].drop { character in
                if character == "(" { depth += 1 }
                if character == ")" { depth -= 1 }
                return depth > 0
            }.dropFirst()
        }
        return result + rest
    }

    private static func files(below folder: String, suffix: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: "\(Programs.repository)/\(folder)")
            .filter { $0.hasSuffix(suffix) }.map { "\(folder)/\($0)" }.sorted()
    }

    private static func text(_ file: String) throws -> String {
        try String(contentsOfFile: "\(Programs.repository)/\(file)", encoding: .utf8)
    }
}
