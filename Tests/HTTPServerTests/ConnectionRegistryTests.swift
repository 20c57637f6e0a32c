import Logging
import NIOCore
import NIOEmbedded
import Testing

@testable import HTTPServer

@Suite("Room for connections")
struct ConnectionRegistryTests {
    /// Connections of a registry without a network.
    private final class Harness {
        let loop = EmbeddedEventLoop()
        let registry: ConnectionRegistry
        let memory: Budget

        init(maximum: Int, spare: Int = 0, ofAddress: Int = 100, bytes: Int = 1 << 30) {
            memory = .memory(bytes)
            registry = ConnectionRegistry(
                maximum: maximum, spare: spare, maximumOfAddress: ofAddress,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        }

        /// Opens one.
        /// - Parameter share: whose it turns out to be.
        func open(
            _ address: String, _ share: Budget.Share = .strangers, bytes: Int = 1000, at seconds: Int64 = 0
        ) throws -> Connection {
            let channel = EmbeddedChannel(loop: loop)
            channel.connect(to: try SocketAddress(ipAddress: address, port: 1), promise: nil)
            channel.remoteAddress = try SocketAddress(ipAddress: address, port: 1)
            let connection = Connection(
                channel: channel, transfer: .sendfile, memory: memory, statistics: ServerStatistics(),
                registry: registry)
            try registry.add(connection, bytes: bytes, now: .uptimeNanoseconds(0) + .seconds(seconds))
            connection.belongs(to: share)
            loop.run()
            return connection
        }
    }

    @Test("An address beyond its bound is turned away, and others are not", arguments: ["192.0.2.1", "2001:db8::1"])
    func boundOfAddress(address: String) throws {
        let harness = Harness(maximum: 100, ofAddress: 3)
        let first = try (0..<3).map { _ in try harness.open(address) }
        for _ in 0..<5 { #expect(throws: ConnectionError.noRoom) { try harness.open(address) } }
        _ = try harness.open("192.0.2.2")
        first[0].cut()
        harness.loop.run()
        _ = try harness.open(address)
        #expect(throws: ConnectionError.noRoom) { try harness.open(address) }
    }

    @Test("A request whose head is there gets memory from strangers who have most, as much as it needs")
    func request() throws {
        // Strangers have 3,000 bytes.
        let harness = Harness(maximum: 100, bytes: 16_000)
        let flood = try (0..<2).map { _ in try harness.open("192.0.2.2") }
        let one = try harness.open("192.0.2.1")
        #expect(!one.memory.take(1500))
        #expect(one.takeForRequest(1500))
        harness.loop.run()
        #expect(one.channel.isActive && !flood.contains { $0.channel.isActive })
        #expect(harness.memory.used == 2500)
        #expect(!one.takeForRequest(1000), "nobody else is there")
        #expect(harness.memory.used == 2500 && one.channel.isActive)
    }

    @Test("Nobody is closed for a request that would not get its memory by that, and who stays can be closed later")
    func vain() throws {
        // Strangers have 3,000 bytes.
        let harness = Harness(maximum: 3, bytes: 16_000)
        let others = try (0..<2).map { _ in try harness.open("192.0.2.2") }
        let one = try harness.open("192.0.2.1")
        #expect(!one.takeForRequest(2500))
        harness.loop.run()
        for other in others { #expect(other.channel.isActive) }
        #expect(one.takeForRequest(2000))
        harness.loop.run()
        #expect(!others.contains { $0.channel.isActive } && one.channel.isActive)
    }

    @Test("A flood makes room for others: of the address with most connections the oldest goes")
    func flood() throws {
        let harness = Harness(maximum: 10)
        let other = try harness.open("192.0.2.1")
        let flood = try (0..<9).map { _ in try harness.open("192.0.2.2") }
        let late = try (0..<5).map { _ in try harness.open("192.0.2.3") }
        #expect(other.channel.isActive && late.allSatisfy(\.channel.isActive))
        #expect(flood.map(\.channel.isActive) == [false, false, false, false, false, true, true, true, true])
        #expect(harness.registry.count == 10)
    }

    @Test("Who has asked for nothing for a while goes before a burst of new ones from one address")
    func burst() throws {
        let harness = Harness(maximum: 10)
        let old = try (0..<10).map { try harness.open("192.0.2.\($0)") }
        let burst = try (0..<8).map { _ in try harness.open("192.0.2.100", at: 10) }
        #expect(burst.count { $0.channel.isActive } == 8)
        #expect(old.count { $0.channel.isActive } == 2)
    }

    @Test("Strangers go first, then users who are idle, and operators never; the last places are for these")
    func order() throws {
        let harness = Harness(maximum: 3, spare: 1)
        let operators = try harness.open("192.0.2.1", .operators)
        let busy = try harness.open("192.0.2.2", .users)
        busy.begin()
        let stranger = try harness.open("192.0.2.3")
        let idle = try harness.open("192.0.2.4", .users)
        #expect(!stranger.channel.isActive && !idle.isSpare)
        let another = try harness.open("192.0.2.5", .users)
        #expect(!idle.channel.isActive && !another.isSpare)
        another.begin()
        let last = try harness.open("192.0.2.6", .operators)
        #expect(last.isSpare)
        #expect(throws: ConnectionError.noRoom) { try harness.open("192.0.2.7") }
        for connection in [operators, busy, another, last] { #expect(connection.channel.isActive) }
    }

    @Test("Strangers on the last places have time to say who they are, until all of these are taken")
    func spare() throws {
        let harness = Harness(maximum: 1, spare: 2)
        try harness.open("192.0.2.1", .users).begin()
        let strangers = try (0..<4).map { _ in try harness.open("192.0.2.2") }
        #expect(strangers.map(\.channel.isActive) == [false, false, true, true])
    }

    @Test("Where strangers have taken their memory, a new one gets its own of one that has to go")
    func memory() throws {
        let harness = Harness(maximum: 1000, bytes: 16_000)
        // 3,000 are theirs.
        let first = try (0..<3).map { try harness.open("192.0.2.\($0)", bytes: 1000) }
        let late = try harness.open("192.0.2.9", bytes: 1000)
        #expect(first.filter(\.channel.isActive).count == 2 && late.channel.isActive)
        #expect(harness.memory.used == 3000)
        // Users' does not help a stranger, nor a stranger theirs.
        for connection in first + [late] where connection.channel.isActive { connection.belongs(to: .users) }
        #expect(harness.memory.used == 3000)
        for number in 0..<3 { _ = try harness.open("192.0.2.\(number)", bytes: 1000) }
        #expect(harness.memory.used == 6000)
    }
}
