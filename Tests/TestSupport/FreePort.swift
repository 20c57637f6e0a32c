import Foundation
import Synchronization

private let handedOut = Mutex<Set<UInt16>>([])

/// A TCP port that is free now and that nobody gets by chance, for programs that can't pick one and tell.
///
/// It lies below the ports that the kernel gives to outgoing connections and to port 0 (ip(7),
/// `ip_local_port_range`): a port of that range may be gone again before the program has started.
/// - Throws: `CommandError.notStarted` if none of 1,000 tries is free.
public func freePort() throws -> Int {
    let range = try? String(contentsOfFile: "/proc/sys/net/ipv4/ip_local_port_range", encoding: .utf8)
    let lowest = range?.split(whereSeparator: \.isWhitespace).first.flatMap { UInt16($0) } ?? 32768
    for _ in 0..<1000 {
        let port = UInt16.random(in: 10_000..<max(lowest, 10_001))
        guard handedOut.withLock({ $0.insert(port).inserted }) else { continue }
        if try isFree(port) { return Int(port) }
    }
    throw CommandError.notStarted("a port", EADDRINUSE)
}

/// Whether every address of this machine can be bound to the port.
private func isFree(_ port: UInt16) throws -> Bool {
    let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard socket >= 0 else { throw CommandError.notStarted("a socket", errno) }
    defer { close(socket) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
            bind(socket, generic, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
}
