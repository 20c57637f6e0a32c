import Foundation
import JSON

/// A registry of somebody else's: `fixtures/registry.py`, which serves a layout's blobs as `team/x` over plain HTTP, asks
/// for tokens, and misbehaves as it is told.
public struct OtherRegistry: Sendable {
    /// `host:port`
    public let address: String
    private let log: String

    public struct Request: Sendable {
        /// `registry`, `token` or `elsewhere`.
        public let server: String
        public let path: String
        /// The scheme of its `Authorization`, or empty.
        public let authorization: String
        public let range: String?
    }

    /// Gives the body a registry, and ends it.
    public static func with<Value>(
        _ layout: ImageLayout, _ options: [String] = [], _ body: (OtherRegistry) async throws -> Value
    ) async throws -> Value {
        try await withTemporaryDirectory { directory in
            let process = try ChildProcess(
                "python3",
                [
                    Programs.repository + "/fixtures/registry.py", layout.directory, directory + "/address",
                    directory + "/log",
                ]
                    + options, log: directory + "/errors")
            do {
                let address = try await waitFor("the other registry") {
                    guard process.isRunning else { throw CommandError.notStarted("registry.py", 0) }
                    return try? String(contentsOfFile: directory + "/address", encoding: .utf8)
                }
                let value = try await body(OtherRegistry(address: address, log: directory + "/log"))
                process.killGroup()
                return value
            } catch {
                process.killGroup()
                print((try? String(contentsOfFile: directory + "/errors", encoding: .utf8)) ?? "")
                throw error
            }
        }
    }

    public func requests() throws -> [Request] {
        try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").map { line in
            let json = try JSONValue(parsing: String(line))
            return Request(
                server: json["server"]?.string ?? "", path: json["path"]?.string ?? "",
                authorization: json["authorization"]?.string ?? "", range: json["range"]?.string)
        }
    }
}
