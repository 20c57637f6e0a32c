import HTTPTypes
import Synchronization

/// The one file that a request uploads, as a sequence of chunks: its whole body, or a field of a form.
///
/// A form's other fields are skipped, or kept if they were asked for (`FormTexts`). The sequence ends only after the form did, so that a reader which reaches the
/// end has had all of the file; otherwise it throws `HTTPFailure`.
public struct UploadedFile: AsyncSequence, Sendable {
    public typealias Element = [UInt8]

    enum Form: Sendable {
        case none
        case fields(Set<String>, boundary: String)
    }

    let body: RequestBody
    let form: Form
    /// Keeps other fields; nil if all are skipped.
    var texts: FormTexts?

    /// The file's length as the client declared it, in bytes; nil if it did not, as for each file in a form.
    public var length: Int64? { if case .none = form { body.length } else { nil } }

    public func makeAsyncIterator() -> Iterator { Iterator(body: body.makeAsyncIterator(), form: form, texts: texts) }

    public struct Iterator: AsyncIteratorProtocol {
        private var body: RequestBody.Iterator
        private let form: Form
        private let texts: FormTexts?
        /// The field to keep that is being read.
        private var text: String?
        private var parser: MultipartParser?
        private var ready: [[UInt8]] = []
        private var isInside = false
        private var wasFound = false
        private var isOver = false

        init(body: RequestBody.Iterator, form: Form, texts: FormTexts?) {
            self.body = body
            self.texts = texts
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
                try texts?.check()
            }
            return ready.removeFirst()
        }

        private mutating func take(
            _ events: [MultipartParser.Event], _ names: Set<String>
        ) throws(MultipartParser.Malformed) {
            for event in events {
                switch event {
                case .part(let part):
                    if let texts, texts.begin(part.name) { text = part.name }
                    guard names.contains(part.name) else { continue }
                    guard !wasFound else { throw .init(reason: "the file is there twice") }
                    wasFound = true
                    isInside = true
                case .bytes(let bytes):
                    if let text { texts?.append(bytes, to: text) }
                    if isInside { ready.append(bytes) }
                case .end:
                    isInside = false
                    text = nil
                }
            }
        }

        private func checkEnd(_ names: Set<String>) throws(HTTPFailure) {
            guard parser?.isOver == true else {
                throw HTTPFailure(.badRequest, "the form is malformed: its last boundary is missing")
            }
            guard wasFound || texts?.isEmpty == false else {
                let list = names.sorted().map { "'\($0)'" }.joined(separator: " or ")
                throw HTTPFailure(.badRequest, "the form has no file field \(list)")
            }
        }
    }
}

/// Small fields of a form besides its file, kept while the form is read. A form that has any of them may come without
/// the file.
public final class FormTexts: Sendable {
    private struct State {
        var values: [String: [UInt8]] = [:]
        var size = 0
        var isTwice = false
    }

    private let names: Set<String>
    private let maximum: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - names: the fields to keep; none may be the file.
    ///   - maximum: bytes of all of them together.
    public init(_ names: Set<String>, maximum: Int) {
        self.names = names
        self.maximum = maximum
    }

    /// The bytes of a field; nil if the form did not have it. Known once the file was read to its end.
    public subscript(_ name: String) -> [UInt8]? { state.withLock { $0.values[name] } }

    var isEmpty: Bool { state.withLock { $0.values.isEmpty } }

    /// - Returns: whether the field is one to keep.
    func begin(_ name: String) -> Bool {
        guard names.contains(name) else { return false }
        state.withLock { state in
            if state.values.updateValue([], forKey: name) != nil { state.isTwice = true }
        }
        return true
    }

    func append(_ bytes: [UInt8], to name: String) {
        state.withLock { state in
            state.size += bytes.count
            if state.size <= maximum { state.values[name, default: []] += bytes }
        }
    }

    /// - Throws: 400 for a field that is there twice, 413 for too many bytes.
    func check() throws(HTTPFailure) {
        let (size, isTwice) = state.withLock { ($0.size, $0.isTwice) }
        guard !isTwice else { throw HTTPFailure(.badRequest, "the form has a field twice") }
        guard size <= maximum else { throw .tooLarge(maximum: Int64(maximum)) }
    }
}

extension Request {
    /// The file that the request uploads: the body itself, or, if that is a form, one of some fields of it.
    /// - Parameters:
    ///   - fields: for example `["droplet", "bits"]`; one of them must be there, once.
    ///   - body: from `body(maximum:)`.
    ///   - texts: keeps other fields.
    /// - Throws: 400 for a form without a usable boundary.
    public func file(
        named fields: Set<String>, in body: RequestBody, texts: FormTexts? = nil
    ) throws(HTTPFailure) -> UploadedFile {
        guard let header = headers[.contentType], header.lowercased().hasPrefix("multipart/") else {
            return UploadedFile(body: body, form: .none)
        }
        guard let type = HeaderParameters(header), type.value == "multipart/form-data", let boundary = type["boundary"],
            (try? MultipartParser(boundary: boundary)) != nil
        else {
            throw HTTPFailure(.badRequest, "the Content-Type is not multipart/form-data with a boundary")
        }
        return UploadedFile(body: body, form: .fields(fields, boundary: boundary), texts: texts)
    }
}
