import Foundation
import JSON
import TestSupport
import Testing

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

    /// Has an operation begun and waits for its end; while another one of its kind runs, for that first.
    /// - Returns: it, with what came of it in `report`.
    func operate(_ target: String, within limit: Duration = .seconds(60)) async throws -> JSONValue {
        let begun = try await waitFor("\(target) to begin", within: limit) { () -> Answer? in
            let answer = try await send("POST", target, as: "operator", body: [], limit: limit)
            return answer.status == 409 && answer.json["code"] == "running" ? nil : answer
        }
        try #require(begun.status == 202, "\(begun.text)")
        let place = try #require(begun["Location"])
        try #require(begun.json["id"]?.string.map { "/api/v1/operations/\($0)" } == place)
        return try await end(of: place, within: limit)
    }

    /// An operation at its end.
    func end(of place: String, within limit: Duration = .seconds(60)) async throws -> JSONValue {
        try await waitFor("the end of \(place)", within: limit) { () -> JSONValue? in
            let answer = try await get(place, as: "operator")
            try #require(answer.status == 200, "\(answer.text)")
            return answer.json["state"] == "running" ? nil : answer.json
        }
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
