/// A form with files, as a client sends it.
struct Multipart {
    static let boundary = "----a-boundary-that-nothing-else-has"
    static let contentType = ["Content-Type": "multipart/form-data; boundary=\(boundary)"]

    private(set) var body: [UInt8] = []

    /// - Parameter fields: names and contents.
    init(_ fields: [(name: String, content: [UInt8])], isComplete: Bool = true) {
        for (name, content) in fields {
            body += Array("--\(Self.boundary)\r\n".utf8)
            body += Array("Content-Disposition: form-data; name=\"\(name)\"; filename=\"\(name).tgz\"\r\n".utf8)
            body += Array("Content-Type: application/octet-stream\r\n\r\n".utf8)
            body += content + Array("\r\n".utf8)
        }
        if isComplete { body += Array("--\(Self.boundary)--\r\n".utf8) }
    }
}
