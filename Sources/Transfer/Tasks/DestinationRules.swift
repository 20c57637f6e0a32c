import CLinux
import Glibc
import Runtime

/// An IPv4 or IPv6 address.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// 4 or 16 bytes, in network order.
    let bytes: [UInt8]

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// Reads an address in any spelling that connecting by name would take: IPv4 in decimal, octal or hexadecimal, of
    /// one to four parts (inet_aton(3)); IPv6 without a zone. Nil if it is none.
    package init?(_ text: String) {
        var four = in_addr()
        var six = in6_addr()
        if !text.contains(where: \.isWhitespace), inet_aton(text, &four) == 1 {
            bytes = withUnsafeBytes(of: four) { Array($0) }
        } else if inet_pton(AF_INET6, text, &six) == 1 {
            bytes = withUnsafeBytes(of: six) { Array($0) }
        } else {
            return nil
        }
    }

    /// The canonical spelling.
    package var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        _ = bytes.withUnsafeBytes {
            inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, $0.baseAddress, &text, socklen_t(text.count))
        }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The IPv4 address that an IPv6 one stands for: mapped, compatible, translated (RFC 6052), 6to4. It is judged
    /// instead, since that is where packets end up.
    private var embedded: IPAddress? {
        guard bytes.count == 16 else { return nil }
        let last = Array(bytes[12...])
        if bytes[..<10].allSatisfy({ $0 == 0 }), bytes[10] == bytes[11], bytes[10] == 0xff || bytes[10] == 0 {
            return bytes[10] == 0 && last[..<3] == [0, 0, 0] ? nil : IPAddress(bytes: last)
        }
        if bytes[..<4] == [0, 0x64, 0xff, 0x9b] { return IPAddress(bytes: last) }
        if bytes[..<2] == [0x20, 0x02] { return IPAddress(bytes: Array(bytes[2..<6])) }
        return nil
    }

    /// What a machine's metadata service listens on besides link-local addresses: AWS and Google over IPv6, Alibaba,
    /// Azure, Oracle.
    private static let metadata: Set<IPAddress> = Set(
        ["fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"]
            .compactMap { IPAddress($0) })

    /// Why no task may connect to it; nil if it may. Private networks are where controllers live: they are allowed.
    package var refusal: String? {
        if let embedded { return embedded.refusal }
        if Self.metadata.contains(self) { return "a metadata service's address" }
        if bytes.count == 4 {
            switch bytes[0] {
            case 0: return "an unspecified address"
            case 127: return "a loopback address"
            case 169 where bytes[1] == 254: return "a link-local address"
            case 224...239: return "a multicast address"
            case 240...255: return "a reserved or broadcast address"
            default: return nil
            }
        }
        if bytes.allSatisfy({ $0 == 0 }) { return "an unspecified address" }
        if bytes[..<15].allSatisfy({ $0 == 0 }) { return "a loopback address" }
        if bytes[0] == 0xfe, bytes[1] & 0xc0 == 0x80 || bytes[1] & 0xc0 == 0xc0 { return "a link-local address" }
        if bytes[0] == 0xff { return "a multicast address" }
        // Teredo tunnels to IPv4 addresses that are hidden in it.
        if bytes[..<4] == [0x20, 0x01, 0, 0] { return "a tunnel's address" }
        return nil
    }
}

/// Where the URLs of a staging task may lead. Who may ask for staging chooses the URLs; without these rules the
/// platform would fetch anything for them that it can reach itself.
///
/// A URL must be https and its host must not have a loopback, link-local, unspecified, multicast, reserved or metadata
/// address. Names are resolved first, every address is judged, and one that was judged is connected to, so that a name
/// that is resolved differently a second time gains nothing. The same holds for redirects.
package struct DestinationRules: Sendable {
    /// A host that tasks may reach whatever its address.
    package struct AllowedHost: Hashable, Sendable {
        let host: String
        /// Nil: any.
        let port: Int?

        /// `host`, `host:port`, `[IPv6]` or `[IPv6]:port`; nil if it is none of them.
        package init?(_ text: String) {
            guard let (host, port) = TransferURL.hostAndPort(text[...]) else { return nil }
            self.host = Self.canonical(host)
            self.port = port
        }

        /// Addresses in their canonical spelling, names as they are.
        fileprivate static func canonical(_ host: String) -> String { IPAddress(host)?.description ?? host }
    }

    let allowedHosts: Set<AllowedHost>
    /// Whether http is as good as https.
    let allowsPlain: Bool
    /// Which `file:` URLs and paths are read.
    package enum Files: Hashable, Sendable {
        case none
        /// Those in this directory, where nobody but who began the step has put any.
        case inside(String)
        /// All, for those who have the machine's files anyway.
        case all

        /// Whether the file may be read that has this absolute path.
        func allow(_ path: String) -> Bool {
            switch self {
            case .none: false
            case .inside(let directory):
                path.split(separator: "/", omittingEmptySubsequences: false).last.map {
                    !["", ".", ".."].contains($0) && path == "\(directory)/\($0)"
                } ?? false
            case .all: true
            }
        }
    }

    let files: Files
    private let resolve: Resolver

    /// Finds the addresses of a name that is no address.
    /// - Throws: `TransferFailure`.
    package typealias Resolver = @Sendable (_ host: String) async throws -> [IPAddress]

    package init(
        allowedHosts: Set<AllowedHost> = [], allowsPlain: Bool = false, files: Files = .none,
        resolve: @escaping Resolver = systemResolver
    ) {
        self.allowedHosts = allowedHosts
        self.allowsPlain = allowsPlain
        self.files = files
        self.resolve = resolve
    }

    /// Judges a URL that HTTP is to be spoken with.
    /// - Returns: the addresses to connect to, at least one.
    /// - Throws: `TransferFailure`: `.forbidden`; `.unreachable` if the name can't be resolved.
    func addresses(of url: TransferURL) async throws -> [IPAddress] {
        switch url.scheme {
        case .https: break
        case .http where allowsPlain: break
        case .http: throw TransferFailure(.forbidden, "\(url): only https is fetched from; --allow-http allows http")
        case .ssh, .file: throw TransferFailure(.forbidden, "\(url): only https is fetched from")
        }
        return try await addresses(of: url.host, port: url.port)
    }

    /// Judges a host. All of its addresses must be allowed, unless the host is.
    func addresses(of host: String, port: Int) async throws -> [IPAddress] {
        let isAllowed = [port, nil].contains { port in
            allowedHosts.contains { $0.host == AllowedHost.canonical(host) && $0.port == port }
        }
        let addresses = if let address = IPAddress(host) { [address] } else { try await resolve(host) }
        guard !addresses.isEmpty else { throw TransferFailure(.unreachable, "\(host) has no address") }
        guard !isAllowed else { return addresses }
        for address in addresses {
            guard let refusal = address.refusal else { continue }
            let what = address.description == host ? refusal : "\(refusal) (\(address))"
            throw TransferFailure(
                .forbidden,
                "\(host) is or has \(what), which tasks may not reach; --allow-host \(host):\(port) allows it")
        }
        return addresses
    }

    /// getaddrinfo(3), on a thread of its own. How long it takes is bounded by resolv.conf(5).
    package static let systemResolver: Resolver = { host in
        let result = await withCheckedContinuation {
            (done: CheckedContinuation<Result<[IPAddress], TransferFailure>, Never>) in
            let started = SystemThread.start(named: "resolver") {
                done.resume(returning: Result { () throws(TransferFailure) in try lookUp(host) })
            }
            if !started { done.resume(returning: .failure(TransferFailure(.unreachable, "there are no threads left"))) }
        }
        return try result.get()
    }

    private static func lookUp(_ host: String) throws(TransferFailure) -> [IPAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        defer { if let list { freeaddrinfo(list) } }
        guard code == 0 else {
            throw TransferFailure(
                .unreachable, "the name \(host) can't be resolved: \(String(cString: gai_strerror(code)))",
                mayGetBetter: code == EAI_AGAIN || code == EAI_SYSTEM)
        }
        var addresses: [IPAddress] = []
        var next = list
        while let info = next?.pointee {
            next = info.ai_next
            guard let raw = UnsafeRawPointer(info.ai_addr) else { continue }
            let address: IPAddress?
            switch info.ai_family {
            case AF_INET:
                address = IPAddress(
                    bytes: withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in.self).sin_addr) { Array($0) })
            case AF_INET6:
                address = IPAddress(
                    bytes: withUnsafeBytes(of: raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr) { Array($0) })
            default: address = nil
            }
            if let address, !addresses.contains(address) { addresses.append(address) }
        }
        return addresses
    }

    /// Lets names be looked up in /etc/hosts and by DNS only, whatever nsswitch.conf(5) says. A statically linked
    /// program would load other services from libraries of the root file system that it happens to run in.
    package static func resolveWithoutLibraries() { clinux_resolve_plainly() }
}
