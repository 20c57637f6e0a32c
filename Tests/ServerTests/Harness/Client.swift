import Foundation
import TestSupport

/// A client of a server's plain listener: a connection for each request, answers as they came.
struct Client: Sendable {
    let port: Int
    /// User names and passwords.
    let passwords: [String: String]

    /// - Parameters:
    ///   - target: sent as it is.
    ///   - user: nil: no Authorization.
    ///   - body: nil: none, and no Content-Length.
    func send(
        _ method: String, _ target: String, as user: String? = "pull", _ headers: [String: String] = [:],
        body: [UInt8]? = nil, limit: Duration = .seconds(60)
    ) async throws -> Answer {
        let connection = try await RawConnection(port: port, limit: limit)
        defer { connection.close() }
        var headers = headers
        if let body { headers["Content-Length"] = String(body.count) }
        try await connection.send(head(method, target, as: user, headers))
        do {
            if let body { try await connection.send(body) }
        } catch RawConnection.Failure.closed {
            // A refusal may come before everything was sent; it can still be read.
        }
        return try await Answer(from: connection, isHead: method == "HEAD")
    }

    /// Sends a body in chunks of HTTP's own (`Transfer-Encoding: chunked`), without saying how long it is.
    func stream(
        _ method: String, _ target: String, as user: String? = "pull", _ headers: [String: String] = [:],
        _ chunks: [[UInt8]]
    ) async throws -> Answer {
        let connection = try await RawConnection(port: port, limit: .seconds(60))
        defer { connection.close() }
        let headers = headers.merging(["Transfer-Encoding": "chunked"]) { $1 }
        do {
            try await connection.send(head(method, target, as: user, headers))
            for chunk in chunks where !chunk.isEmpty {
                try await connection.send(
                    Array("\(String(chunk.count, radix: 16))\r\n".utf8) + chunk + Array("\r\n".utf8))
            }
            try await connection.send("0\r\n\r\n")
        } catch RawConnection.Failure.closed {
            // A refusal may come before everything was sent; it can still be read.
        }
        return try await Answer(from: connection)
    }

    func get(_ target: String, as user: String? = "pull", _ headers: [String: String] = [:]) async throws -> Answer {
        try await send("GET", target, as: user, headers)
    }

    func head(_ target: String, as user: String? = "pull", _ headers: [String: String] = [:]) async throws -> Answer {
        try await send("HEAD", target, as: user, headers)
    }

    /// A request's head with the empty line behind it.
    func head(_ method: String, _ target: String, as user: String?, _ headers: [String: String]) -> String {
        var lines = ["\(method) \(target) HTTP/1.1", "Host: 127.0.0.1:\(port)", "Connection: close"]
        if let user { lines.append("Authorization: \(authorization(user))") }
        lines += headers.map { "\($0): \($1)" }
        return lines.joined(separator: "\r\n") + "\r\n\r\n"
    }

    func authorization(_ user: String) -> String {
        "Basic " + Data("\(user):\(passwords[user] ?? "")".utf8).base64EncodedString()
    }
}
