import Foundation

/// An answer as curl saw it.
public struct HTTPResponse: Sendable {
    public let status: Int
    /// Names in lower case, in the order in which they came.
    public let headers: [(name: String, value: String)]
    public let body: [UInt8]

    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The first header of a name.
    public func header(_ name: String) -> String? {
        headers.first { $0.name == name.lowercased() }?.value
    }

    /// Reads what `curl --dump-header` wrote: the last header block counts, those of 100 and of redirects come before.
    init?(dump: String, body: [UInt8]) {
        let text = dump.replacing("\r\n", with: "\n")
        guard let block = text.split(separator: "\n\n").last else { return nil }
        let lines = block.split(separator: "\n")
        guard let first = lines.first, let code = first.split(separator: " ").dropFirst().first, let status = Int(code)
        else { return nil }
        self.status = status
        self.body = body
        headers = lines.dropFirst().compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            return (line[..<colon].lowercased(), value)
        }
    }
}
