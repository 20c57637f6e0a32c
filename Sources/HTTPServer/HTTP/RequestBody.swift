import HTTPTypes
import NIOCore
import Synchronization

/// Where a request's body comes from.
enum BodySource: Sendable {
    case bytes([UInt8])
    case network(NetworkBody)

    /// Called once an operator is known to send the body: what is collected of it then counts for operators, and not
    /// for documents.
    func belongsToOperators() { if case .network(let body) = self { body.memory.move(to: .operators) } }

    /// Called once the request is answered: gives back the memory of what was collected, which is no longer used.
    func release() { if case .network(let body) = self { body.memory.release() } }
}

/// A body that comes in over a connection.
struct NetworkBody: Sendable {
    let parts: RequestParts
    /// From Content-Length; nil if the body is chunked.
    let length: Int64?
    let connection: Connection
    let expectsContinue: Bool
    let received: ByteCounter
    /// The memory that the collected bytes take.
    let memory: Holding
}

/// Counts the received bytes of a body, for metrics and the access log.
final class ByteCounter: Sendable {
    private let value = Atomic<Int64>(0)
    var count: Int64 { value.load(ordering: .relaxed) }
    func add(_ count: Int) { value.wrappingAdd(Int64(count), ordering: .relaxed) }
}

/// A request's body as a sequence of chunks, read at its reader's pace. It can be read once only.
///
/// The sequence ends early only by throwing `HTTPFailure`: 413 over its bound, 408 if the client stopped sending, 400
/// if the body broke off, 503 if there is no memory for it.
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
                switch error {
                case .stalled: throw HTTPFailure.stalled
                case .noMemory: throw HTTPFailure.busy
                default: throw HTTPFailure.brokenBody
                }
            } catch let error as HTTPFailure {
                throw error
            } catch let error as CancellationError {
                throw error
            } catch {
                // Errors of the parser or of the socket.
                throw HTTPFailure.brokenBody
            }
        }
    }

    /// Reads the whole body, up to its bound. Its memory is held until the request is answered.
    /// - Throws: 503 if there is no memory for it.
    public func collect() async throws -> [UInt8] {
        var bytes: [UInt8] = []
        var room = 0
        for try await chunk in self {
            let count = bytes.count + chunk.count
            if count > room {
                // Doubles the room, but takes no more than can come.
                let wanted = Swift.max(count, Swift.min(2 * room, Int(clamping: length ?? maximum)), 16 << 10)
                if case .network(let body) = source, !body.memory.take(wanted - room) { throw HTTPFailure.busy }
                room = wanted
                bytes.reserveCapacity(room)
            }
            bytes.append(contentsOf: chunk)
        }
        return bytes
    }
}

extension Request {
    /// The body, of which at most a number of bytes is taken.
    /// - Throws: 413 at once if the client declared more. A client that waits for `100 Continue` has then not sent
    ///   anything.
    public func body(maximum: Int64) throws(HTTPFailure) -> RequestBody {
        let body = RequestBody(source: source, maximum: maximum)
        if let length = body.length, length > maximum { throw .tooLarge(maximum: maximum) }
        return body
    }
}
