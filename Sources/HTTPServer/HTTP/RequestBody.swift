import HTTPTypes
import NIOCore
import Synchronization

/// Where a request's body comes from.
enum BodySource: Sendable {
    case bytes([UInt8])
    case network(NetworkBody)
}

/// A body that comes in over a connection.
struct NetworkBody: Sendable {
    let parts: RequestParts
    /// From Content-Length; nil if the body is chunked.
    let length: Int64?
    let connection: Connection
    let expectsContinue: Bool
    let received: ByteCounter
}

/// Counts what was received, for the log and for bodies that end early.
final class ByteCounter: Sendable {
    private let value = Atomic<Int64>(0)
    var count: Int64 { value.load(ordering: .relaxed) }
    func add(_ count: Int) { value.wrappingAdd(Int64(count), ordering: .relaxed) }
}

/// A request's body as a sequence of chunks, read at the pace of its reader and once only.
///
/// It ends early only by throwing: `HTTPFailure` 413 over its bound, 408 if the client stopped sending, 400 if it broke
/// off.
public struct RequestBody: AsyncSequence, Sendable {
    public typealias Element = [UInt8]

    let source: BodySource
    /// In bytes.
    public let maximum: Int64

    /// The length that the client declared, in bytes; nil if it did not.
    public var length: Int64? {
        switch source {
        case .bytes(let bytes): Int64(bytes.count)
        case .network(let body): body.length
        }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(source: source, maximum: maximum) }

    public struct Iterator: AsyncIteratorProtocol {
        private enum State {
            case unread(BodySource)
            case reading(NetworkBody)
            case over
        }

        private var state: State
        private let maximum: Int64
        private var count: Int64 = 0

        init(source: BodySource, maximum: Int64) {
            state = .unread(source)
            self.maximum = maximum
        }

        public mutating func next() async throws -> [UInt8]? {
            switch state {
            case .over: return nil
            case .unread(.bytes(let bytes)):
                state = .over
                guard bytes.count <= maximum else { throw HTTPFailure.tooLarge(maximum: maximum) }
                return bytes.isEmpty ? nil : bytes
            case .unread(.network(let body)):
                if body.expectsContinue { body.connection.sendContinue() }
                return try await read(body)
            case .reading(let body): return try await read(body)
            }
        }

        private mutating func read(_ body: NetworkBody) async throws -> [UInt8]? {
            state = .over
            do {
                guard let buffer = try await body.parts.nextOfBody() else {
                    // A reader must never take a body that broke off for one that ended.
                    guard (body.length ?? count) == count else { throw HTTPFailure.brokenBody }
                    return nil
                }
                count += Int64(buffer.readableBytes)
                body.received.add(buffer.readableBytes)
                guard count <= maximum else { throw HTTPFailure.tooLarge(maximum: maximum) }
                state = .reading(body)
                return Array(buffer.readableBytesView)
            } catch let error as ConnectionError {
                throw error == .stalled ? HTTPFailure.stalled : HTTPFailure.brokenBody
            } catch let error as HTTPFailure {
                throw error
            } catch let error as CancellationError {
                throw error
            } catch {
                // The parser's errors and the socket's.
                throw HTTPFailure.brokenBody
            }
        }
    }

    /// The whole body; its bound is the caller's.
    public func collect() async throws -> [UInt8] {
        var bytes: [UInt8] = []
        if let length { bytes.reserveCapacity(Int(Swift.min(length, maximum, 1 << 20))) }
        for try await chunk in self { bytes.append(contentsOf: chunk) }
        return bytes
    }
}

extension Request {
    /// The body, of which at most a number of bytes is taken.
    /// - Throws: 413 at once if the client declared more: it has then not sent anything if it waits to be asked.
    public func body(maximum: Int64) throws(HTTPFailure) -> RequestBody {
        let body = RequestBody(source: source, maximum: maximum)
        if let length = body.length, length > maximum { throw .tooLarge(maximum: maximum) }
        return body
    }
}
