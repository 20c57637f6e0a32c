public import NIOCore

/// A client's address as limits count it: an IPv4 address, or the /64 network of an IPv6 address, since providers give
/// each customer such a network. IPv4 in IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
public struct ClientAddress: Hashable, Sendable {
    private let network: UInt64
    /// The kind of address: 2 is IPv4, 1 is IPv6, 0 is neither.
    private let rest: UInt64

    /// All clients whose address is not known; they are counted as one.
    public static let unknown = ClientAddress(network: 0, rest: 0)

    private init(network: UInt64, rest: UInt64) {
        self.network = network
        self.rest = rest
    }

    public init(_ address: SocketAddress?) {
        // The bytes of Linux' `sockaddr_in`, whose address is at 4, and `sockaddr_in6`, whose address is at 8.
        switch address {
        case .v4(let four)?:
            let word = withUnsafeBytes(of: four.address) { $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self) }
            self.init(four: UInt32(bigEndian: word))
        case .v6(let six)?:
            let (high, low) = withUnsafeBytes(of: six.address) { bytes in
                (
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
                )
            }
            if high == 0, low >> 32 == 0xFFFF {
                self.init(four: UInt32(truncatingIfNeeded: low))
            } else {
                self.init(network: high, rest: 1)
            }
        default: self = .unknown
        }
    }

    private init(four: UInt32) { self.init(network: UInt64(four), rest: 2) }
}
