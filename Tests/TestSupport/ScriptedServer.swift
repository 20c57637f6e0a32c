import Foundation
import Glibc
import Synchronization

/// Runs every job on a thread of its own: handlers block, and the few threads of Swift's own pool are the tests'.
private final class Threads: TaskExecutor {
    static let shared = Threads()

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        Thread.detachNewThread { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// An HTTP/1.1 server on the loopback address whose answers a test writes byte by byte. Each connection gets one
/// request and is closed after its answer.
public final class ScriptedServer: Sendable {
    public struct Request: Sendable {
        public let method: String
        public let target: String
        public let headers: [(name: String, value: String)]
        public let body: [UInt8]

        public func header(_ name: String) -> String? {
            headers.first { $0.name.lowercased() == name.lowercased() }?.value
        }
    }

    /// The server's end of a connection.
    public struct Connection: Sendable {
        fileprivate let descriptor: Int32

        public func send(_ bytes: [UInt8]) {
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes {
                    Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return }
                rest = rest.dropFirst(count)
            }
        }

        public func answer(_ status: Int, _ headers: [String] = [], _ body: [UInt8] = []) {
            head(status, headers + ["Content-Length: \(body.count)"])
            send(body)
        }

        public func head(_ status: Int, _ headers: [String]) {
            send(
                Array(
                    (["HTTP/1.1 \(status) Because"] + headers + ["Connection: close", "", ""]).joined(separator: "\r\n")
                        .utf8))
        }

        /// Waits until the client or the test's end closes the connection.
        public func stall() {
            var byte: UInt8 = 0
            while recv(descriptor, &byte, 1, 0) > 0 {}
        }
    }

    /// - Parameter number: how many requests came before this one.
    public typealias Handler = @Sendable (_ request: Request, _ number: Int, _ connection: Connection) async -> Void

    private struct State {
        var requests: [Request] = []
        var open: Set<Int32> = []
        var isStopped = false
    }

    public let port: Int
    private let listener: Int32
    private let handler: Handler
    private let state = Mutex(State())

    /// Those that have come so far.
    public var requests: [Request] { state.withLock { $0.requests } }
    public var address: String { "127.0.0.1:\(port)" }

    private init(_ handler: @escaping Handler) throws {
        self.handler = handler
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let done = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(listener, generic, length) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, generic, &length) == 0
            }
        }
        guard done else { throw CommandError.notStarted("a server", errno) }
        self.listener = listener
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    /// Gives a server to a body and stops it afterwards.
    public static func with<Value>(
        _ handler: @escaping Handler, _ body: (ScriptedServer) async throws -> Value
    ) async throws -> Value {
        let server = try ScriptedServer(handler)
        Thread.detachNewThread { server.accept() }
        defer { server.stop() }
        return try await body(server)
    }

    /// A server that answers paths with bytes, and 404 to others.
    public static func with<Value>(
        files: [String: [UInt8]], _ body: (ScriptedServer) async throws -> Value
    ) async throws -> Value {
        try await with(
            { request, _, connection in
                if let bytes = files[request.target] {
                    connection.answer(200, [], bytes)
                } else {
                    connection.answer(404)
                }
            }, body)
    }

    private func stop() {
        state.withLock { state in
            state.isStopped = true
            for descriptor in state.open { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private func accept() {
        while true {
            let descriptor = Glibc.accept(listener, nil, nil)
            guard descriptor >= 0 else { break }
            let goesOn = state.withLock { state in
                if !state.isStopped { state.open.insert(descriptor) }
                return !state.isStopped
            }
            guard goesOn else {
                close(descriptor)
                break
            }
            Thread.detachNewThread { [self] in
                let request = Self.read(descriptor)
                Task(executorPreference: Threads.shared) { [self] in
                    if let request {
                        let number = state.withLock { state in
                            state.requests.append(request)
                            return state.requests.count - 1
                        }
                        await handler(request, number, Connection(descriptor: descriptor))
                    }
                    state.withLock { _ = $0.open.remove(descriptor) }
                    // What the client still sends must not turn the close into a reset.
                    shutdown(descriptor, Int32(SHUT_WR))
                    close(descriptor)
                }
            }
        }
        close(listener)
    }

    /// Reads a request with its body; nil if the client goes away.
    private static func read(_ descriptor: Int32) -> Request? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        func more() -> Bool {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count > 0 { bytes += buffer[..<count] }
            return count > 0
        }
        var end: Int?
        while end == nil {
            guard more() else { return nil }
            end = bytes.firstRange(of: Array("\r\n\r\n".utf8))?.upperBound
        }
        guard let end else { return nil }
        var lines = String(decoding: bytes[..<(end - 4)], as: UTF8.self).split(separator: "\r\n")
        let words = lines.removeFirst().split(separator: " ")
        let headers = lines.map { line in
            let parts = line.split(separator: ":", maxSplits: 1)
            return (String(parts[0]), parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : "")
        }
        let length = headers.first { $0.0.lowercased() == "content-length" }.flatMap { Int($0.1) } ?? 0
        while bytes.count - end < length { guard more() else { return nil } }
        return Request(
            method: String(words[0]), target: String(words[1]), headers: headers, body: Array(bytes[end...]))
    }
}
