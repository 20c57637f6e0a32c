import Foundation
import TestSupport

/// Many connections of clients that send something and then wait, from several addresses of loopback. They go with it.
final class Crowd: Sendable {
    private let descriptors: [Int32]

    /// - Parameters:
    ///   - count: connections.
    ///   - addresses: 127.0.0.1 and those after it, so many.
    ///   - bytes: what each sends, as far as the server takes it.
    init(port: Int, count: Int, addresses: Int, sending bytes: [UInt8]) async throws {
        descriptors = try await onThread {
            var opened: [Int32] = []
            for number in 0..<count {
                guard let descriptor = Self.connect(port, from: number % addresses + 1) else { continue }
                opened.append(descriptor)
                var rest = bytes[...]
                // The socket's buffer takes it at once, or the server reads meanwhile.
                while !rest.isEmpty {
                    var waited = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    guard poll(&waited, 1, 1000) > 0 else { break }
                    let sent = rest.withUnsafeBytes {
                        send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
                    }
                    if sent < 0, errno == EAGAIN { continue }
                    guard sent > 0 else { break }
                    rest = rest.dropFirst(sent)
                }
            }
            return opened
        }
    }

    deinit { for descriptor in descriptors { close(descriptor) } }

    /// How many the server has not closed.
    var open: Int {
        descriptors.count { descriptor in
            var waited = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            var byte: UInt8 = 0
            return poll(&waited, 1, 0) == 0 || recv(descriptor, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)) > 0
        }
    }

    private static func connect(_ port: Int, from host: Int) -> Int32? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        func address(_ host: Int, _ port: Int) -> sockaddr_in {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0000 + host).bigEndian
            return address
        }
        func with(_ address: sockaddr_in, _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
            withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    call($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        guard with(address(host, 0), { bind(descriptor, $0, $1) }) == 0,
            with(address(1, port), { Glibc.connect(descriptor, $0, $1) }) == 0
        else {
            close(descriptor)
            return nil
        }
        return descriptor
    }
}

extension World {
    /// Lines of `/proc/PID/status` in MiB: `VmRSS`, `VmHWM`.
    func memory(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(server.process.pid)/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return Int(line?.filter(\.isNumber) ?? "0").map { $0 / 1024 } ?? 0
    }
}
