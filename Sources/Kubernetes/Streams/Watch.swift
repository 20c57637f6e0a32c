import AsyncHTTPClient
import JSON
import NIOCore

/// What a watch tells.
package enum WatchEvent: Sendable {
    case added(KubernetesObject)
    case modified(KubernetesObject)
    /// With the object's last state.
    case deleted(KubernetesObject)
    /// Nothing before this version is missing.
    case bookmark(resourceVersion: String)

    package var object: KubernetesObject? {
        switch self {
        case .added(let object), .modified(let object), .deleted(let object): object
        case .bookmark: nil
        }
    }
}

/// The changes of a collection since a resource version (Kubernetes documentation, "Efficient detection of changes").
///
/// A connection that breaks, is silent for too long or is ended by the server is replaced by another one that goes on
/// where the last event or bookmark was. The sequence ends by throwing only: an error that `isExpired` means that events
/// are missing and the collection has to be listed anew; others come after `Limits.attempts` failures in a row, or at
/// once where the server refuses, and then a new watch may go on from the last version seen.
package struct Watch: AsyncSequence, Sendable {
    package typealias Element = WatchEvent

    let client: KubernetesClient
    let resource: Resource
    let namespace: String?
    let options: ListOptions
    let resourceVersion: String

    package func makeAsyncIterator() -> Iterator { Iterator(watch: self) }

    package struct Iterator: AsyncIteratorProtocol {
        private let watch: Watch
        private var version: String
        private var body: HTTPClientResponse.Body.AsyncIterator?
        private var lines: Lines
        private var failures = 0
        private var hasEvents = false
        private var start: Int64 = 0
        /// A connection that was up for so long has not failed, even if nothing happened meanwhile; in nanoseconds.
        private static let longEnough: Int64 = 30_000_000_000
        /// The server is in trouble and says so in the stream; the next connection may do better.
        private struct Trouble: Error {}
        /// When a connection has to end, on the monotonic clock, whatever it sends.
        private var end: Int64 = 0

        fileprivate init(watch: Watch) {
            self.watch = watch
            version = watch.resourceVersion
            lines = Lines(maximum: watch.client.limits.event)
        }

        package mutating func next() async throws -> WatchEvent? {
            while true {
                let problem: String
                do {
                    if let line = try lines.next() {
                        if let event = try event(line) { return event }
                        continue
                    }
                    if body == nil { try await connect() }
                    if watch.client.timing.monotonic() < end, let chunk = try await read() {
                        lines.append(chunk)
                        continue
                    }
                    // The usual end: the server's own time-out.
                    problem = "watches end before anything is told"
                } catch let error as KubernetesError {
                    disconnect()
                    // What is left here can't be helped by another connection, or `open` has tried often enough.
                    throw error
                } catch {
                    problem = "watches break off"
                }
                try Task.checkCancellation()
                disconnect()
                if hasEvents || watch.client.timing.monotonic() - start > Self.longEnough {
                    failures = 0
                } else {
                    failures += 1
                    guard failures < watch.client.limits.attempts else { throw KubernetesError.unreachable(problem) }
                    try await watch.client.timing.pause(watch.client.pause(after: failures))
                }
            }
        }

        private mutating func read() async throws -> ByteBuffer? {
            guard var iterator = body else { return nil }
            let chunk = try await iterator.next()
            body = iterator
            return chunk
        }

        private mutating func disconnect() {
            body = nil
            // Half a line is the beginning of an event that comes again.
            lines.removeAll()
        }

        private mutating func connect() async throws {
            hasEvents = false
            let limits = watch.client.limits
            let seconds = Int.random(in: limits.watchSeconds)
            let path =
                try watch.resource.path(namespace: watch.namespace)
                + query([
                    ("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", version),
                    ("timeoutSeconds", String(seconds)), ("labelSelector", watch.options.labelSelector),
                    ("fieldSelector", watch.options.fieldSelector),
                ])
            let response = try await watch.client.open(
                .init(path: path, isRepeatable: true, isSecret: watch.resource.isSecret), .watch)
            body = response.body.makeAsyncIterator()
            start = watch.client.timing.monotonic()
            end = start + Duration.seconds(seconds + 30).nanoseconds
        }

        private mutating func event(_ line: [UInt8]) throws -> WatchEvent? {
            let json: JSONValue
            do throws(JSONError) { json = try JSONValue(parsing: line, maximumDepth: 128) } catch {
                throw KubernetesError.malformed("an event of \(watch.resource): \(error)")
            }
            guard let type = json["type"]?.string, let object = json["object"].flatMap(KubernetesObject.init) else {
                throw KubernetesError.malformed("an event of \(watch.resource) has no type or no object")
            }
            if type == "ERROR" {
                let status = APIStatus(json["object"], code: 500, isSecret: watch.resource.isSecret)
                if status.code == 429 || status.code >= 500 { throw Trouble() }
                throw KubernetesError.refused(status)
            }
            let seen = object.resourceVersion
            guard !seen.isEmpty else {
                throw KubernetesError.malformed("an event of \(watch.resource) has no resource version")
            }
            let event: WatchEvent
            switch type {
            case "ADDED": event = .added(object)
            case "MODIFIED": event = .modified(object)
            case "DELETED": event = .deleted(object)
            case "BOOKMARK": event = .bookmark(resourceVersion: seen)
            default: return nil
            }
            version = seen
            hasEvents = true
            return event
        }
    }
}

/// The lines of a stream.
struct Lines {
    private var buffer = ByteBuffer()
    /// How much of the buffer has been searched for the end of a line.
    private var searched = 0
    private let maximum: Int

    /// - Parameter maximum: of a line, in bytes.
    init(maximum: Int) { self.maximum = maximum }

    mutating func append(_ chunk: ByteBuffer) {
        var chunk = chunk
        buffer.discardReadBytes()
        buffer.writeBuffer(&chunk)
    }

    /// The next whole line, without its end.
    mutating func next() throws(KubernetesError) -> [UInt8]? {
        while true {
            let rest = buffer.readableBytesView.dropFirst(searched)
            guard let end = rest.firstIndex(of: 0x0A) else {
                searched = buffer.readableBytes
                guard searched <= maximum else { throw .malformed("an event has more than \(maximum) bytes") }
                return nil
            }
            let line = buffer.readBytes(length: end - buffer.readerIndex) ?? []
            buffer.moveReaderIndex(forwardBy: 1)
            searched = 0
            guard line.count <= maximum else { throw .malformed("an event has more than \(maximum) bytes") }
            if !line.isEmpty { return line }
        }
    }

    mutating func removeAll() {
        buffer = ByteBuffer()
        searched = 0
    }
}

extension KubernetesClient {
    /// - Parameters:
    ///   - namespace: nil for all.
    ///   - resourceVersion: of a list, or of the last event that was seen.
    package func watch(
        _ resource: Resource, namespace: String? = nil, _ options: ListOptions = ListOptions(),
        since resourceVersion: String
    ) -> Watch {
        Watch(
            client: self, resource: resource, namespace: namespace, options: options, resourceVersion: resourceVersion)
    }
}
