import Foundation
import TestSupport

/// What a server's log says clients asked for.
struct RequestLog {
    private let server: RunningServer
    private let start: Int

    /// From here on.
    init(of server: RunningServer) throws {
        self.server = server
        start = try Self.bytes(server).count
    }

    /// The manifests and blobs of an app's repository that were fetched, whole or in part, as `manifests/…` and `blobs/…`.
    /// HEAD is not among them, nor what was refused for want of a password.
    func fetched(by guid: String) throws -> [String] {
        let prefix = "/v2/cloudfoundry/\(guid)/"
        return try Self.bytes(server).dropFirst(start).split(separator: UInt8(ascii: "\n")).compactMap { line in
            guard let request = try? JSONDecoder().decode(Line.self, from: Data(line)), request.method == "GET",
                [200, 206].contains(request.status), request.path.hasPrefix(prefix)
            else { return nil }
            return String(request.path.dropFirst(prefix.count))
        }
    }

    private struct Line: Decodable {
        let method: String
        let path: String
        let status: Int
    }

    private static func bytes(_ server: RunningServer) throws -> [UInt8] {
        try Array(Data(contentsOf: URL(fileURLWithPath: server.log)))
    }
}
