import CPread
import Glibc
import HTTPTypes
import NIOCore
import NIOHTTPTypes
import NIOPosix

/// Writes one response to its connection and remembers how far it came.
struct ResponseSender {
    typealias Writer = NIOAsyncChannelOutboundWriter<HTTPResponsePart>

    /// Parts of files up to this many bytes are copied behind the head.
    fileprivate static let copied = 16 << 10
    /// How much of a file is read at a time where it can't be left to the system, in bytes.
    fileprivate static let chunk = 64 << 10

    let connection: Connection
    let isHead: Bool
    /// How many bytes of the body were sent.
    private(set) var sent: Int64 = 0
    private(set) var isComplete = false

    init(connection: Connection, isHead: Bool) {
        self.connection = connection
        self.isHead = isHead
    }

    mutating func send(_ response: Response, _ writer: Writer) async throws {
        let head = HTTPResponse(status: response.status, headerFields: response.headers)
        switch response.body {
        case .none: try await writer.write(contentsOf: [.head(head), .end(nil)])
        case .bytes(let bytes):
            if isHead || bytes.isEmpty {
                try await writer.write(contentsOf: [.head(head), .end(nil)])
            } else {
                try await send(bytes, head, writer)
            }
        case .file(let file, let range):
            do {
                try await send(file, range, head, writer)
            } catch {
                await file.close()
                throw error
            }
            await file.close()
        case .parts(let file, let parts):
            do {
                try await send(file, parts, head, writer)
            } catch {
                await file.close()
                throw error
            }
            await file.close()
        case .stream(let length, let write):
            if isHead {
                try await writer.write(contentsOf: [.head(head), .end(nil)])
            } else {
                try await stream(length, write, head, writer)
            }
        }
        isComplete = true
    }

    /// Sends a body that is in memory. A large one is copied piece by piece, as the client takes it, so that it is not
    /// in memory twice.
    private mutating func send(_ bytes: [UInt8], _ head: HTTPResponse, _ writer: Writer) async throws {
        if bytes.count <= Self.chunk {
            try await writer.write(contentsOf: [.head(head), .body(ByteBuffer(bytes: bytes)), .end(nil)])
            sent = Int64(bytes.count)
            return
        }
        try await writer.write(.head(head))
        for start in stride(from: 0, to: bytes.count, by: Self.chunk) {
            let piece = bytes[start..<min(start + Self.chunk, bytes.count)]
            try await writer.write(.body(ByteBuffer(bytes: piece)))
            sent += Int64(piece.count)
        }
        try await writer.write(.end(nil))
    }

    private mutating func send(
        _ file: ResponseFile, _ range: Range<Int64>, _ head: HTTPResponse, _ writer: Writer
    ) async throws {
        if isHead || range.isEmpty {
            try await writer.write(contentsOf: [.head(head), .end(nil)])
            return
        }
        if let descriptor = file.descriptor { try Self.check(descriptor, holds: range) }
        if range.count <= Self.copied, let descriptor = file.descriptor {
            let buffer = try await Self.read(descriptor, at: range.lowerBound, count: range.count, connection)
            try await writer.write(contentsOf: [.head(head), .body(buffer), .end(nil)])
            sent = Int64(range.count)
            return
        }
        try await writer.write(.head(head))
        try await send(file, range, writer)
        try await writer.write(.end(nil))
    }

    /// Sends several ranges. Small ones are copied behind what stands before them.
    private mutating func send(
        _ file: ResponseFile, _ parts: MultipartRanges, _ head: HTTPResponse, _ writer: Writer
    ) async throws {
        if isHead {
            try await writer.write(contentsOf: [.head(head), .end(nil)])
            return
        }
        if let descriptor = file.descriptor {
            for range in parts.ranges { try Self.check(descriptor, holds: range) }
        }
        try await writer.write(.head(head))
        for range in parts.ranges {
            var buffer = ByteBuffer(string: parts.head(of: range))
            if range.count <= Self.copied, let descriptor = file.descriptor {
                var bytes = try await Self.read(descriptor, at: range.lowerBound, count: range.count, connection)
                buffer.writeBuffer(&bytes)
                try await writer.write(.body(buffer))
                sent += Int64(buffer.readableBytes)
            } else {
                try await writer.write(.body(buffer))
                sent += Int64(buffer.readableBytes)
                try await send(file, range, writer)
            }
        }
        let end = ByteBuffer(string: parts.end)
        try await writer.write(contentsOf: [.body(end), .end(nil)])
        sent += Int64(end.readableBytes)
    }

    private mutating func send(_ file: ResponseFile, _ range: Range<Int64>, _ writer: Writer) async throws {
        if let descriptor = file.descriptor, connection.transfer == .sendfile {
            try await sendfile(descriptor, range)
        } else {
            try await sendChunks(file, range, writer)
        }
    }

    private mutating func sendfile(_ descriptor: Int32, _ range: Range<Int64>) async throws {
        let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: descriptor)
        defer { _ = try? handle.takeDescriptorOwnership() }
        try await connection.send(
            FileRegion(fileHandle: handle, readerIndex: Int(range.lowerBound), endIndex: Int(range.upperBound)))
        sent += Int64(range.count)
    }

    private mutating func sendChunks(
        _ file: ResponseFile, _ range: Range<Int64>, _ writer: Writer
    ) async throws {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = Int(min(Int64(Self.chunk), range.upperBound - offset))
            let buffer: ByteBuffer
            if let descriptor = file.descriptor {
                buffer = try await Self.read(descriptor, at: offset, count: count, connection)
            } else {
                let at = offset
                buffer = try await withTaskExecutorPreference(globalConcurrentExecutor) {
                    ByteBuffer(bytes: try await file.read(at, count))
                }
                guard (1...count).contains(buffer.readableBytes) else { throw ResponseSenderError.fileTooShort }
            }
            try await writer.write(.body(buffer))
            offset += Int64(buffer.readableBytes)
            connection.statistics.addRead(buffer.readableBytes)
            sent += Int64(buffer.readableBytes)
        }
    }

    private mutating func stream(
        _ length: Int64?, _ write: @escaping @Sendable (([UInt8]) async throws -> Void) async throws -> Void,
        _ head: HTTPResponse, _ writer: Writer
    ) async throws {
        try await writer.write(.head(head))
        var count: Int64 = 0
        defer { sent = count }
        try await write { bytes in
            count += Int64(bytes.count)
            guard count <= length ?? .max else { throw ResponseSenderError.wrongLength }
            try await writer.write(.body(ByteBuffer(bytes: bytes)))
        }
        guard count == length ?? count else { throw ResponseSenderError.wrongLength }
        try await writer.write(.end(nil))
    }

    /// Checks a file's size: one that is shorter than its record must not become a response that never ends.
    private static func check(_ descriptor: Int32, holds range: Range<Int64>) throws {
        guard cpread_size(descriptor) >= range.upperBound else { throw ResponseSenderError.fileTooShort }
    }

    /// Reads exactly `count` bytes: on the event loop what is in memory, on another thread what comes from the disk.
    private static func read(
        _ descriptor: Int32, at offset: Int64, count: Int, _ connection: Connection
    ) async throws -> ByteBuffer {
        var buffer = connection.channel.allocator.buffer(capacity: count)
        if buffer.fill(from: descriptor, at: offset, count: count, mayWait: false) == count { return buffer }
        // A part of the bytes may have been in memory; those are kept.
        let begun = buffer
        return try await NIOThreadPool.singleton.runIfActive {
            var buffer = begun
            while buffer.readableBytes < count {
                let at = offset + Int64(buffer.readableBytes)
                guard buffer.fill(from: descriptor, at: at, count: count - buffer.readableBytes, mayWait: true) > 0
                else { throw ResponseSenderError.fileTooShort }
            }
            return buffer
        }
    }
}

extension ResponseBody {
    /// How much memory it takes to send the body to a slow client, in bytes; 0 where that is little.
    /// - Parameter bySystem: whether the system sends files (sendfile), so that they are not read.
    func memory(bySystem: Bool) -> Int {
        let piece = 2 * ResponseSender.chunk
        func memory(_ file: ResponseFile, _ range: Range<Int64>) -> Int {
            if range.count <= ResponseSender.copied || (bySystem && file.descriptor != nil) { return 0 }
            return min(2 * range.count, piece)
        }
        switch self {
        case .none: return 0
        case .bytes(let bytes):
            return bytes.count <= ResponseSender.copied ? 0 : bytes.count + min(bytes.count, piece)
        case .file(let file, let range): return memory(file, range)
        case .parts(let file, let parts): return parts.ranges.map { memory(file, $0) }.max() ?? 0
        case .stream: return piece
        }
    }

    /// Releases a body that won't be sent.
    func discard() async {
        switch self {
        case .file(let file, _), .parts(let file, _): await file.close()
        case .none, .bytes, .stream: break
        }
    }
}

enum ResponseSenderError: Error {
    case fileTooShort
    case wrongLength
}

extension ByteBuffer {
    /// Appends bytes of a file.
    /// - Parameter mayWait: false reads only what the system has in memory.
    /// - Returns: the number of bytes read; 0 at the end, on errors, and where it would have to wait.
    fileprivate mutating func fill(from descriptor: Int32, at offset: Int64, count: Int, mayWait: Bool) -> Int {
        writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
            while true {
                let result =
                    mayWait
                    ? pread(descriptor, bytes.baseAddress, count, off_t(offset))
                    : cpread_cached(descriptor, bytes.baseAddress, count, off_t(offset))
                if result < 0, errno == EINTR { continue }
                return max(0, result)
            }
        }
    }
}
