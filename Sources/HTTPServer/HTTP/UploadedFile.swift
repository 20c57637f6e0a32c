import HTTPTypes

/// The one file that a request uploads, as a sequence of chunks: its whole body, or a field of a form.
///
/// A form's other fields are skipped. The sequence ends only after the form did, so that a reader which reaches the
/// end has had all of the file; otherwise it throws `HTTPFailure`.
public struct UploadedFile: AsyncSequence, Sendable {
    public typealias Element = [UInt8]

    enum Form: Sendable {
        case none
        case fields(Set<String>, boundary: String)
    }

    let body: RequestBody
    let form: Form

    /// The file's length as the client declared it, in bytes; nil if it did not, as for each file in a form.
    public var length: Int64? { if case .none = form { body.length } else { nil } }

    public func makeAsyncIterator() -> Iterator { Iterator(body: body.makeAsyncIterator(), form: form) }

    public struct Iterator: AsyncIteratorProtocol {
        private var body: RequestBody.Iterator
        private let form: Form
        private var parser: MultipartParser?
        private var ready: [[UInt8]] = []
        private var isInside = false
        private var wasFound = false
        private var isOver = false

        init(body: RequestBody.Iterator, form: Form) {
            self.body = body
            self.form = form
        }

        public mutating func next() async throws -> [UInt8]? {
            guard case .fields(let names, let boundary) = form else { return try await body.next() }
            while ready.isEmpty {
                guard !isOver, let bytes = try await body.next() else {
                    isOver = true
                    try checkEnd(names)
                    return nil
                }
                do throws(MultipartParser.Malformed) {
                    var parser: MultipartParser
                    if let current = self.parser {
                        parser = current
                    } else {
                        parser = try MultipartParser(boundary: boundary)
                    }
                    self.parser = nil
                    let events = try parser.feed(bytes)
                    self.parser = parser
                    try take(events, names)
                } catch {
                    throw HTTPFailure(.badRequest, "the form is malformed: \(error.reason)")
                }
            }
            return ready.removeFirst()
        }

        private mutating func take(
            _ events: [MultipartParser.Event], _ names: Set<String>
        ) throws(MultipartParser.Malformed) {
            for event in events {
                switch event {
                case .part(let part):
                    guard names.contains(part.name) else { continue }
                    guard !wasFound else { throw .init(reason: "the file is there twice") }
                    wasFound = true
                    isInside = true
                case .bytes(let bytes): if isInside { ready.append(bytes) }
                case .end: isInside = false
                }
            }
        }

        private func checkEnd(_ names: Set<String>) throws(HTTPFailure) {
            guard parser?.isOver == true else {
                throw HTTPFailure(.badRequest, "the form is malformed: its last boundary is missing")
            }
            guard wasFound else {
                let list = names.sorted().map { "'\($0)'" }.joined(separator: " or ")
                throw HTTPFailure(.badRequest, "the form has no file field \(list)")
            }
        }
    }
}

extension Request {
    /// The file that the request uploads: the body itself, or, if that is a form, one of some fields of it.
    /// - Parameters:
    ///   - fields: for example `["droplet", "bits"]`; one of them must be there, once.
    ///   - body: from `body(maximum:)`.
    /// - Throws: 400 for a form without a usable boundary.
    public func file(named fields: Set<String>, in body: RequestBody) throws(HTTPFailure) -> UploadedFile {
        guard let header = headers[.contentType], header.lowercased().hasPrefix("multipart/") else {
            return UploadedFile(body: body, form: .none)
        }
        guard let type = HeaderParameters(header), type.value == "multipart/form-data", let boundary = type["boundary"],
            (try? MultipartParser(boundary: boundary)) != nil
        else {
            throw HTTPFailure(.badRequest, "the Content-Type is not multipart/form-data with a boundary")
        }
        return UploadedFile(body: body, form: .fields(fields, boundary: boundary))
    }
}
