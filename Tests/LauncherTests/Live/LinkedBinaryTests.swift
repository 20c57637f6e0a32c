import Foundation
import Testing

@Suite("The linked program")
struct LinkedBinaryTests {
    private func readelf(_ option: String) throws -> String {
        let command = try Command(
            ["/usr/bin/readelf", option, "--wide", BuiltLaunch.url().path(percentEncoded: false)],
            environment: ["LC_ALL": "C"], directory: FileManager.default.temporaryDirectory)
        #expect(command.exitCode == 0)
        return command.output
    }

    @Test("It is static: no dynamic section, no interpreter")
    func isStatic() throws {
        #expect(try readelf("--dynamic").contains("There is no dynamic section"))
        let segments = try readelf("--segments")
        #expect(segments.contains("LOAD"))
        #expect(!segments.contains("INTERP"))
    }

    @Test("It is stripped and at most 8 MB")
    func size() throws {
        let sections = try readelf("--sections")
        #expect(sections.contains(".text"))
        #expect(!sections.contains(".symtab") && !sections.contains(".debug_info"))
        let size = try #require(try BuiltLaunch.url().resourceValues(forKeys: [.fileSizeKey]).fileSize)
        #expect((1_000_000...8_000_000).contains(size), "\(size) bytes")
    }

    @Test("It says that it answers to the name shell in the words by which a server knows that it does")
    func shellUsage() throws {
        let bytes = try Data(contentsOf: BuiltLaunch.url())
        #expect(bytes.range(of: Data("shell [APP_DIR [COMMAND]]".utf8)) != nil)
    }

    @Test(
        "Neither Foundation, which needs FoundationEssentials, nor the regular expression engine is in it",
        arguments: ["FoundationEssentials", "_RegexParser"])
    func leftOut(name: String) throws {
        let bytes = try Data(contentsOf: BuiltLaunch.url())
        #expect(bytes.range(of: Data("swift".utf8)) != nil)
        #expect(bytes.range(of: Data(name.utf8)) == nil)
    }
}
