import HTTPServer
import HTTPTypes
import JSON
import Runtime

/// What a request that puts bits in place brings: the bits, or the name of others to copy.
enum UploadedBits: Sendable {
    /// The largest body that may be a copy request, in bytes.
    private static let maximumCopy: Int64 = 4096

    /// The guid of what is to be copied.
    case copy(source: String)
    /// A small body that is no copy request.
    case bytes(Bytes)
    case file(UploadedFile)

    /// - Parameters:
    ///   - maximum: in bytes.
    ///   - fields: of a form, one of which has the bits.
    ///   - texts: keeps other fields of the form.
    /// - Throws: 400 for a form without a usable boundary, or a copy request that names nothing.
    init(
        _ request: Request, maximum: Int64, _ fields: Set<String>, texts: FormTexts? = nil
    ) async throws {
        let type = request.headers[.contentType]?.lowercased() ?? ""
        let isJSON = type.hasPrefix("application/json")
        let body = try request.body(maximum: isJSON ? Self.maximumCopy : maximum)
        // The controller's client sends copy requests with whatever type its HTTP library puts there.
        let isSmall = body.length.map { $0 <= Self.maximumCopy } ?? false
        guard isJSON || isSmall, !type.hasPrefix("multipart/") else {
            self = .file(try request.file(named: fields, in: body, texts: texts))
            return
        }
        let bytes = try await body.collect()
        if let source = (try? JSONValue(parsing: bytes))?["source_guid"]?.string {
            self = .copy(source: source)
        } else if isJSON {
            throw HTTPFailure(.badRequest, #"a copy request is {"source_guid": "…"}"#)
        } else {
            self = .bytes(Bytes(bytes: bytes))
        }
    }

    /// A body that was read whole, as a sequence of one chunk.
    struct Bytes: AsyncSequence, Sendable {
        typealias Element = [UInt8]

        let bytes: [UInt8]

        var length: Int64 { Int64(bytes.count) }

        func makeAsyncIterator() -> Iterator { Iterator(bytes: bytes.isEmpty ? nil : bytes) }

        struct Iterator: AsyncIteratorProtocol {
            var bytes: [UInt8]?

            mutating func next() async throws -> [UInt8]? {
                defer { bytes = nil }
                return bytes
            }
        }
    }
}

/// The members that tell of bits which are stored, for all kinds of them.
func readyBits(_ guid: String, _ created: Timestamp, sha1: String, sha256: String) -> JSONObject {
    [
        "guid": .string(guid), "state": "READY", "type": "bits", "created_at": .string(created.rfc3339),
        "sha1": .string(sha1), "sha256": .string(sha256),
    ]
}

extension HTTPField.Name {
    static let digest = HTTPField.Name("Digest") ?? .contentType
}
