import Foundation
import Synchronization

/// A TCP connection over which a test says exactly what it wants, byte by byte. Each call is bounded in time.
final class RawConnection: Sendable {
    enum Failure: Error, Equatable {
        /// Nothing listens there.
        case refused
        /// The other side closed or reset the connection.
        case closed
        case timedOut
        case system(Int32)
    }

    private let descriptor: Int32
    private let isClosed = Mutex(false)
    private let limit: Duration

    /// - Parameters:
    ///   - port: of the loopback address.
    ///   - limit: for each call.
    init(port: Int, limit: Duration = .seconds(60)) async throws {
        self.limit = limit
        descriptor = try await onThread { try Self.connect(port) }
    }

    deinit { close() }

    /// Sends all of the bytes.
    /// - Throws: `.closed`, `.timedOut`.
    func send(_ bytes: [UInt8]) async throws {
        let deadline = ContinuousClock.now + limit
        try await onThread { [self] in
            var sent = 0
            while sent < bytes.count {
                try wait(for: POLLOUT, until: deadline)
                let count = bytes.withUnsafeBytes {
                    Glibc.send(
                        descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent,
                        Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
                }
                if count < 0, errno == EAGAIN || errno == EINTR { continue }
                guard count > 0 else { throw errno == EPIPE || errno == ECONNRESET ? .closed : Failure.system(errno) }
                sent += count
            }
        }
    }

    func send(_ text: String) async throws { try await send(Array(text.utf8)) }

    /// What came, at least one byte; empty at the end.
    /// - Throws: `.closed` for a reset, `.timedOut`.
    func receive(atMost maximum: Int = 1 << 16) async throws -> [UInt8] {
        let deadline = ContinuousClock.now + limit
        return try await onThread { [self] in
            while true {
                try wait(for: POLLIN, until: deadline)
                var buffer = [UInt8](repeating: 0, count: maximum)
                let count = recv(descriptor, &buffer, maximum, Int32(MSG_DONTWAIT))
                if count < 0, errno == EAGAIN || errno == EINTR { continue }
                guard count >= 0 else { throw errno == ECONNRESET ? .closed : Failure.system(errno) }
                return Array(buffer[..<count])
            }
        }
    }

    /// Says that nothing more is sent, and goes on reading.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Goes away without a word, as a process that is killed with unread data does.
    func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    func close() {
        isClosed.withLock { isClosed in
            if !isClosed { Glibc.close(descriptor) }
            isClosed = true
        }
    }

    private func wait(for event: Int32, until deadline: ContinuousClock.Instant) throws {
        var waited = pollfd(fd: descriptor, events: Int16(event), revents: 0)
        while true {
            let count = poll(&waited, 1, milliseconds(until: deadline))
            if count > 0 { return }
            guard count < 0, errno == EINTR else { throw Failure.timedOut }
        }
    }

    private static func connect(_ port: Int) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure.system(errno) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            let reason = errno
            Glibc.close(descriptor)
            throw reason == ECONNREFUSED ? .refused : Failure.system(reason)
        }
        return descriptor
    }
}
