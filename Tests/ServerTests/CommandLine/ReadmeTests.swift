import Foundation
import TestSupport
import Testing

extension ServerTests {
    @Suite("What the README says that one types", .serialized, .sideBySide)
    struct ReadmeTests {
        /// Everything between back quotes, and the lines of indented and fenced blocks, each as one line.
        private static func code() throws -> [String] {
            let text = try String(contentsOfFile: Programs.repository + "/README.md", encoding: .utf8)
            var code: [String] = []
            for (index, block) in text.components(separatedBy: "```").enumerated() {
                if index.isMultiple(of: 2) {
                    code += block.split(separator: "`", omittingEmptySubsequences: false).enumerated()
                        .filter { !$0.offset.isMultiple(of: 2) }
                        .map { $0.element.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
                } else {
                    code += block.split(separator: "\n").map { String($0.prefix { $0 != "#" }) }
                }
            }
            return code
        }

        /// Words as a shell would part them, more or less.
        private static func words(_ line: String) -> [String] {
            line.split { " \"()$;|&".contains($0) }.map(String.init)
        }

        @Test("Its commands exist, with the flags that it gives them")
        func commands() async throws {
            var help: [[String]: String] = [:]
            func shown(_ command: [String]) async throws -> String {
                if let text = help[command] { return text }
                let result = try await run("cistern", command + ["--help"], timeout: .seconds(30))
                #expect(result.status == 0, "cistern \(command.joined(separator: " ")): \(result.errors)")
                help[command] = result.output
                return result.output
            }
            var (commands, flags): (Set<[String]>, Int) = ([], 0)
            for line in try Self.code() where line.hasPrefix("cistern ") {
                let words = Array(Self.words(line).dropFirst())
                var command: [String] = []
                // Command after command, as long as each has others in it.
                for word in words {
                    guard try await shown(command).contains("SUBCOMMANDS:") else { break }
                    #expect(try await shown(command).contains("  \(word) "), "\(line): there is no '\(word)'")
                    command.append(word)
                }
                for flag in words where flag.hasPrefix("--") {
                    let name = String(flag.prefix { $0 != "=" })
                    #expect(try await shown(command).contains(name), "\(line): there is no \(name)")
                    flags += 1
                }
                commands.insert(command)
            }
            #expect(commands.count > 15 && flags > 10, "the README is read")
        }

        @Test("Its targets of make and its scripts are there")
        func scripts() async throws {
            let makefile = try String(contentsOfFile: Programs.repository + "/Makefile", encoding: .utf8)
            var targets: Set<String> = []
            for line in try Self.code() {
                let words = Self.words(line)
                for (word, next) in zip(words, words.dropFirst()) where word == "make" {
                    #expect(makefile.contains("\n\(next):"), "\(line)")
                    targets.insert(next)
                }
                for word in words where ["rootfs/", "fixtures/", ".ci/"].contains(where: word.hasPrefix) {
                    let path = "\(Programs.repository)/\(word)"
                    #expect(FileManager.default.fileExists(atPath: path) || word.contains("<"), "\(line)")
                }
            }
            #expect(targets.isSuperset(of: ["demo", "test", "bench", "docs", "lint"]))
        }
    }
}
