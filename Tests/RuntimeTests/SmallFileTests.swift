import Foundation
import Testing

@testable import Runtime

@Suite("Small files")
struct SmallFileTests {
    @Test(
        "are read without the mark that editors on Windows write at the beginning",
        arguments: [
            ("\u{feff}users:\n", "users:\n"), ("users:\n", "users:\n"), ("\u{feff}", ""), ("", ""),
            ("a\u{feff}b", "a\u{feff}b"), ("\u{feff}\u{feff}a", "\u{feff}a"),
        ])
    func byteOrderMark(_ written: String, _ text: String) throws {
        let path = NSTemporaryDirectory() + "/small-file-\(UUID().uuidString)"
        try Data(written.utf8).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(try SmallFile.read(path, maximum: 100) == Array(text.utf8))
        // Canonically equal texts may differ in their bytes, so these are compared.
        #expect(try Array(SmallFile.text(path, maximum: 100).utf8) == Array(text.utf8))
    }
}
