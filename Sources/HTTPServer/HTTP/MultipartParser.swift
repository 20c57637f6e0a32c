import Glibc

/// Parses multipart/form-data (RFC 7578 in the form of RFC 2046) in pieces, wherever these are cut; it does no I/O. It
/// buffers at most a part's header, or as many bytes as a boundary has.
struct MultipartParser {
    /// The largest header of a part, in bytes.
    static let maximumHeader = 16 << 10
    static let maximumParts = 64

    enum Event: Equatable {
        /// A part begins.
        case part(Part)
        case bytes([UInt8])
        /// The part ends.
        case end
    }

    struct Part: Equatable {
        /// The field's name, from Content-Disposition.
        var name: String
        /// The file's name, from Content-Disposition; nil for fields that are no files.
        var filename: String?
    }

    struct Malformed: Error, Equatable { let reason: String }

    private enum State {
        /// Before the first boundary.
        case preamble
        /// After a boundary, where the end of its line follows, or `--`.
        case boundary
        case header
        case body
        case epilogue
    }

    /// `CR LF -- boundary`
    private let delimiter: [UInt8]
    private var state = State.preamble
    private var buffer: [UInt8]
    private var parts = 0

    /// - Parameter boundary: 1 to 70 characters as RFC 2046 has it.
    init(boundary: String) throws(Malformed) {
        let allowed = Set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=? ".utf8)
        guard (1...70).contains(boundary.utf8.count), boundary.utf8.allSatisfy(allowed.contains), boundary.last != " "
        else { throw Malformed(reason: "the boundary is not one that RFC 2046 allows") }
        delimiter = Array("\r\n--\(boundary)".utf8)
        // The first boundary may stand at the very beginning, as if a line ended before it.
        buffer = Array("\r\n".utf8)
    }

    /// Whether the closing boundary was seen; what follows it is ignored.
    var isOver: Bool { if case .epilogue = state { true } else { false } }

    /// Parses the next bytes.
    /// - Returns: what these bytes complete, in order.
    mutating func feed(_ bytes: [UInt8]) throws(Malformed) -> [Event] {
        if case .epilogue = state { return [] }
        var input: [UInt8]
        if buffer.isEmpty {
            input = bytes
        } else {
            input = buffer
            input += bytes
            buffer = []
        }
        var events: [Event] = []
        var start = 0
        while let next = try step(input, from: start, &events) { start = next }
        return events
    }

    /// - Returns: the index at which to go on; nil if more bytes are needed, with those of `input` that are not used
    ///   up in `buffer`.
    private mutating func step(
        _ input: [UInt8], from start: Int, _ events: inout [Event]
    ) throws(Malformed) -> Int? {
        switch state {
        case .preamble, .body:
            let isBody = if case .body = state { true } else { false }
            let found = Self.search(input, for: delimiter, from: start)
            if isBody, found.index > start {
                let isAll = start == 0 && found.index == input.count
                events.append(.bytes(isAll ? input : Array(input[start..<found.index])))
            }
            guard found.isWhole else {
                buffer = Array(input[found.index...])
                return nil
            }
            if isBody { events.append(.end) }
            state = .boundary
            return found.index + delimiter.count
        case .boundary:
            return try boundaryEnd(input, from: start)
        case .header:
            return try header(input, from: start, &events)
        case .epilogue:
            return nil
        }
    }

    private mutating func boundaryEnd(_ input: [UInt8], from start: Int) throws(Malformed) -> Int? {
        var index = start
        if input.count >= start + 2, input[start] == UInt8(ascii: "-"), input[start + 1] == UInt8(ascii: "-") {
            state = .epilogue
            return nil
        }
        while index < input.count, input[index] == 0x20 || input[index] == 0x09 { index += 1 }
        guard index - start <= 256 else { throw Malformed(reason: "a boundary's line is too long") }
        guard input.count >= index + 2 else {
            buffer = Array(input[start...])
            return nil
        }
        guard input[index] == 0x0D, input[index + 1] == 0x0A else {
            throw Malformed(reason: "something follows a boundary on its line")
        }
        parts += 1
        guard parts <= Self.maximumParts else { throw Malformed(reason: "there are too many parts") }
        state = .header
        return index + 2
    }

    private mutating func header(
        _ input: [UInt8], from start: Int, _ events: inout [Event]
    ) throws(Malformed) -> Int? {
        let end: Int
        let next: Int
        if input.count >= start + 2, input[start] == 0x0D, input[start + 1] == 0x0A {
            (end, next) = (start, start + 2)
        } else {
            let found = Self.search(input, for: [0x0D, 0x0A, 0x0D, 0x0A], from: start)
            guard found.index - start <= Self.maximumHeader else {
                throw Malformed(reason: "a part's header is too long")
            }
            guard found.isWhole else {
                buffer = Array(input[start...])
                return nil
            }
            (end, next) = (found.index, found.index + 4)
        }
        events.append(.part(try MultipartHeader.part(input[start..<end])))
        state = .body
        return next
    }

    /// Finds the first place where a pattern stands, or where its beginning stands at the input's end (not `isWhole`);
    /// the input's end if there is neither.
    private static func search(
        _ input: [UInt8], for pattern: [UInt8], from start: Int
    ) -> (index: Int, isWhole: Bool) {
        input.withUnsafeBytes { input in
            guard let base = input.baseAddress else { return (0, false) }
            var index = start
            while index < input.count, let hit = memchr(base + index, Int32(pattern[0]), input.count - index) {
                index = UnsafeRawPointer(hit) - base
                let length = min(pattern.count, input.count - index)
                if memcmp(hit, pattern, length) == 0 { return (index, length == pattern.count) }
                index += 1
            }
            return (input.count, false)
        }
    }
}

/// The header of one part of a form.
enum MultipartHeader {
    static func part(_ bytes: ArraySlice<UInt8>) throws(MultipartParser.Malformed) -> MultipartParser.Part {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .init(reason: "a part's header is not UTF-8")
        }
        var part: MultipartParser.Part?
        for line in text.utf8.split(separator: 0x0A) {
            let line = Substring(line.last == 0x0D ? line.dropLast() : line)
            guard let colon = line.firstIndex(of: ":") else { throw .init(reason: "a part's header is malformed") }
            let value = line[line.index(after: colon)...]
            switch line[..<colon].lowercased() {
            case "content-disposition":
                guard part == nil, let parsed = HeaderParameters(value), parsed.value == "form-data",
                    let name = parsed["name"]
                else { throw .init(reason: "a part's Content-Disposition is not form-data with a name") }
                part = .init(name: name, filename: parsed["filename"])
            case "content-type":
                guard HeaderParameters(value)?.value.hasPrefix("multipart/") == false else {
                    throw .init(reason: "a part is itself multipart")
                }
            case "content-transfer-encoding":
                guard ["binary", "8bit", "7bit"].contains(HeaderParameters(value)?.value) else {
                    throw .init(reason: "a part has a Content-Transfer-Encoding")
                }
            default: break
            }
        }
        guard let part else { throw .init(reason: "a part has no Content-Disposition") }
        return part
    }
}
