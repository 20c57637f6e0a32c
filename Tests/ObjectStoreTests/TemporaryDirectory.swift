import Foundation
import Logging
import Testing

/// Runs a test with a directory that is removed afterwards.
func withTemporaryDirectory<Value>(
    in parent: String = NSTemporaryDirectory(), _ body: (String) async throws -> Value
) async throws -> Value {
    let path = URL(fileURLWithPath: parent).appendingPathComponent("object-store-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { #expect(throws: Never.self) { try FileManager.default.removeItem(atPath: path) } }
    return try await body(path)
}

extension Logger {
    /// Tests cause errors on purpose.
    static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}
