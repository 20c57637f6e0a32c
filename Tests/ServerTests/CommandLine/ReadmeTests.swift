import Foundation
import TestSupport
import Testing

extension ServerTests {
    /// What of it is executed is in `PrintedCommandTests`.
    @Suite("What the README says that one builds with")
    struct ReadmeTests {
        private static func code() throws -> [String] {
            PrintedCommands.code(in: try String(contentsOfFile: Programs.repository + "/README.md", encoding: .utf8))
        }

        /// Words as a shell would part them, more or less.
        private static func words(_ line: String) -> [String] {
            line.split { " \"()$;|&".contains($0) }.map(String.init)
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
