import Foundation
import JSON

/// An answer exactly as it came over the wire.
struct Answer: Sendable {
    let status: Int
    /// Names in lower case.
    let headers: [(name: String, value: String)]
    let body: [UInt8]

    var text: String { String(decoding: body, as: UTF8.self) }

    /// The header of a name; nil if there is none. Two of one name are joined, so that no test overlooks one.
    subscript(_ name: String) -> String? {
        let values = headers.filter { $0.name == name.lowercased() }.map(\.value)
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }

    var json: JSONValue { (try? JSONValue(parsing: body)) ?? .null }

    /// The code of the first error in a body of the distribution specification's form.
    var registryCode: String? { json["errors"]?.array?.first?["code"]?.string }
}

/// Why something is no answer.
enum AnswerError: Error {
    case cut(String)
    case malformed(String)
    /// More or fewer bytes than Content-Length says.
    case length(announced: Int, received: Int)
}

extension Answer {
    /// Reads one answer from a connection that is closed after it, or up to the announced length.
    /// - Parameters:
    ///   - isHead: the answer has no body, whatever its length says.
    ///   - begun: bytes that were received before.
    /// - Throws: `AnswerError`, `RawConnection.Failure`.
    init(from connection: RawConnection, isHead: Bool = false, begun: [UInt8] = []) async throws {
        var received = begun
        var head = Self.endOfHead(received)
        while head == nil {
            let bytes = try await connection.receive()
            guard !bytes.isEmpty else { throw AnswerError.cut(String(decoding: received, as: UTF8.self)) }
            received += bytes
            head = Self.endOfHead(received)
        }
        let (status, headers) = try Self.parse(received[..<(head ?? 0)])
        var body = Array(received[((head ?? 0) + 4)...])
        let length = headers.first { $0.name == "content-length" }.flatMap { Int($0.value) }
        let closes = headers.contains { $0.name == "connection" && $0.value.lowercased() == "close" }
        let expected = isHead || status == 304 || status == 204 ? 0 : length
        while closes || body.count < expected ?? .max {
            let bytes = try await connection.receive()
            if bytes.isEmpty { break }
            body += bytes
        }
        if let expected, expected != body.count { throw AnswerError.length(announced: expected, received: body.count) }
        (self.status, self.headers, self.body) = (status, headers, body)
    }

    private static func endOfHead(_ bytes: [UInt8]) -> Int? {
        let end: [UInt8] = [13, 10, 13, 10]
        guard bytes.count >= 4 else { return nil }
        return (0...bytes.count - 4).first { bytes[$0] == 13 && Array(bytes[$0..<$0 + 4]) == end }
    }

    private static func parse(_ head: ArraySlice<UInt8>) throws -> (Int, [(name: String, value: String)]) {
        let lines = String(decoding: head, as: UTF8.self).components(separatedBy: "\r\n")
        let first = lines[0].split(separator: " ")
        guard first.count >= 2, first[0] == "HTTP/1.1", let status = Int(first[1]) else {
            throw AnswerError.malformed(lines[0])
        }
        let headers = try lines.dropFirst().map { line in
            guard let colon = line.firstIndex(of: ":") else { throw AnswerError.malformed(line) }
            let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            return (name: line[..<colon].lowercased(), value: value)
        }
        return (status, headers)
    }
}
