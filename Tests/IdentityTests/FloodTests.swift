import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import Identity

@Suite("Floods of wrong passwords", .timeLimit(.minutes(5)))
struct FloodTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    private func address(_ text: String) throws -> ClientAddress {
        ClientAddress(try SocketAddress(ipAddress: text, port: 1))
    }

    private func numbered(_ number: Int) throws -> ClientAddress {
        try address("10.0.\(number / 256).\(number % 256)")
    }

    @Test(
        "IPv4 is counted by address, IPv6 by /64, and IPv4 in IPv6 as IPv4",
        arguments: [
            ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true), ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true), ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("::1", "0.0.0.0", false), ("0.0.0.1", "::1", false), ("127.0.0.1", "::1", false),
        ])
    func addresses(one: String, other: String, same: Bool) throws {
        #expect((try address(one) == address(other)) == same)
        #expect(try address(one) != .unknown)
    }

    @Test("An address has ten wrong passwords and then one a second; others are not touched")
    func bucket() throws {
        var limiter = AddressLimiter(burst: 10, interval: .seconds(1), maximum: 100)
        let (flood, other) = (try numbered(1), try numbered(2))
        for _ in 0..<10 { #expect(limiter.take(flood, now: Self.start) == nil) }
        #expect(limiter.take(flood, now: Self.start) == .seconds(1))
        #expect(limiter.take(flood, now: Self.start + .milliseconds(400)) == .milliseconds(600))
        #expect(limiter.take(other, now: Self.start) == nil)
        #expect(limiter.take(flood, now: Self.start + .seconds(1)) == nil)
        #expect(limiter.take(flood, now: Self.start + .seconds(1)) == .seconds(1))
        limiter.giveBack(flood)
        #expect(limiter.take(flood, now: Self.start + .seconds(1)) == nil)
        for _ in 0..<10 { #expect(limiter.take(flood, now: Self.start + .seconds(100)) == nil) }
        #expect(limiter.take(flood, now: Self.start + .seconds(100)) != nil)
    }

    @Test("The table of addresses is bounded, and those that came back lately stay in it")
    func table() throws {
        var limiter = AddressLimiter(burst: 2, interval: .seconds(1000), maximum: 100)
        let flood = try address("192.0.2.1")
        for _ in 0..<2 { #expect(limiter.take(flood, now: Self.start) == nil) }
        for number in 0..<10_000 {
            _ = limiter.take(try numbered(number), now: Self.start)
            if number < 40 { #expect(limiter.take(flood, now: Self.start) != nil) }
            #expect(limiter.count <= 100)
        }
        #expect(limiter.take(flood, now: Self.start) == nil)
        limiter.giveBack(try address("192.0.2.9"))
        #expect(limiter.count <= 100)
    }

    @Test("Addresses take turns, however many passwords one of them sent")
    func turns() throws {
        var queue = PasswordQueue<String>(maximum: 100, maximumOfAddress: 50)
        let (flood, other) = (try numbered(1), try numbered(2))
        for number in 0..<40 { _ = queue.add("f\(number)", from: flood, wasGood: false) }
        var order: [String] = []
        func check() {
            guard let (work, address) = queue.next() else { return }
            order.append(work)
            queue.finished(address)
        }
        check()
        for number in 0..<3 { _ = queue.add("o\(number)", from: other, wasGood: false) }
        _ = queue.add("known", from: flood, wasGood: true)
        for _ in 0..<8 { check() }
        #expect(order == ["f0", "known", "o0", "f1", "o1", "f2", "o2", "f3", "f4"])
    }

    @Test("An address has a share of the queue, and a full queue makes room for those who have less in it")
    func shares() throws {
        var queue = PasswordQueue<String>(maximum: 6, maximumOfAddress: 4)
        let addresses = try (0..<8).map(numbered)
        func add(_ name: String, _ address: ClientAddress, wasGood: Bool = false) -> String {
            switch queue.add(name, from: address, wasGood: wasGood) {
            case .taken: "taken"
            case .displaced(let other): other
            case .refused: "refused"
            }
        }
        for number in 0..<4 { #expect(add("a\(number)", addresses[0]) == "taken") }
        #expect(add("a4", addresses[0]) == "refused")
        for number in 0..<2 { #expect(add("b\(number)", addresses[1]) == "taken") }
        #expect(add("c0", addresses[2]) == "a3")
        #expect(add("d0", addresses[3]) == "a2")
        #expect(add("a5", addresses[0]) == "refused")
        #expect(add("e0", addresses[4]) == "b1")
        #expect(add("f0", addresses[5]) == "a1")
        // Each has one.
        #expect(add("g0", addresses[6]) == "refused")
        #expect(add("known", addresses[6], wasGood: true) == "f0")
        var order: [String] = []
        while let (work, address) = queue.next() {
            order.append(work)
            queue.finished(address)
        }
        #expect(order == ["known", "a0", "b0", "c0", "d0", "e0"])
        // All is given back.
        for number in 0..<4 { #expect(add("a\(number)", addresses[0]) == "taken") }
    }

    @Test("Passwords that cost more give way, and none waits for longer than it may")
    func expensive() throws {
        var queue = PasswordQueue<String>(maximum: 100, maximumOfAddress: 8)
        for number in 0..<60 {
            _ = queue.add(
                "dear \(number)", from: try numbered(number), wasGood: false, extraCost: 4,
                until: Self.start + .seconds(10))
        }
        _ = queue.add(
            "cheap", from: try numbered(60), wasGood: false, until: Self.start + .seconds(10))
        let late = try numbered(61)
        _ = queue.add("late", from: late, wasGood: false, until: Self.start + .seconds(11))
        #expect(queue.next()?.work == "cheap")
        #expect(queue.removeLate(Self.start + .seconds(9)).isEmpty)
        #expect(queue.removeLate(Self.start + .seconds(10)).count == 60)
        #expect(queue.next()?.work == "late" && queue.next() == nil)
    }

    @Test("Sixty addresses that guess at the dearest hash keep nobody else waiting, and whoever waits too long is told")
    func dearest() async throws {
        var users = Htpasswd()
        for name in ["alice", "bob"] { try users.set(name, try BcryptHash(password: "wonderland", cost: 4)) }
        try users.set("chief", try BcryptHash(password: "wonderland", cost: 9))
        var limits = Authenticator.Limits()
        limits.failures = 1_000_000
        limits.threads = 2
        let clock = Clock()
        let authenticator = Authenticator(users: users, policy: Policy(), limits: limits, now: { clock.now })
        let (stop, checked, refused) = (Count(), Count(), Count())
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { stop.add(1) }
            for worker in 0..<60 {
                let address = try numbered(worker)
                group.addTask {
                    var round = 0
                    while stop.value == 0 {
                        round += 1
                        do {
                            let header = basic("chief", "guess \(worker) \(round)")
                            _ = try await authenticator.authenticate(header, from: address)
                            checked.add(1)
                        } catch AuthenticationError.overloaded {
                            refused.add(1)
                        }
                    }
                }
            }
            #expect(try await eventually { checked.value > 4 })
            let before = checked.value
            for name in ["alice", "bob"] {
                let user = try await authenticator.authenticate(basic(name, "wonderland"), from: try numbered(100))
                #expect(user?.name == name)
            }
            // Had each of them waited for the sixty, there would be twice as many.
            #expect(checked.value - before < 60)
            #expect(refused.value == 0)
            clock.advance(.seconds(10))
            #expect(try await eventually { refused.value > 0 })
            stop.add(1)
            try await group.waitForAll()
        }
    }

    private final class Clock: Sendable {
        private let time = Mutex(FloodTests.start)
        var now: NIODeadline { time.withLock { $0 } }
        func advance(_ amount: TimeAmount) { time.withLock { $0 = $0 + amount } }
    }

    private static func authenticator(_ clock: Clock, limits: Authenticator.Limits = .init()) throws -> Authenticator {
        var users = Htpasswd()
        try users.set("alice", try BcryptHash(password: "wonderland", cost: 4))
        return Authenticator(users: users, policy: Policy(), limits: limits, now: { clock.now })
    }

    @Test("After ten wrong passwords an address waits, with the right one too; others and known users do not")
    func limited() async throws {
        let clock = Clock()
        let authenticator = try Self.authenticator(clock)
        let (flood, other) = (try numbered(1), try numbered(2))
        let good = basic("alice", "wonderland")
        for number in 0..<10 {
            // Users that don't exist count like those that do.
            let header = basic(number % 2 == 0 ? "alice" : "nobody", "guess \(number)")
            #expect(try await authenticator.authenticate(header, from: flood) == nil)
        }
        for header in [basic("alice", "guess"), basic("nobody", "guess"), good] {
            await #expect(throws: AuthenticationError.tooManyFailures(retryAfter: 1)) {
                try await authenticator.authenticate(header, from: flood)
            }
        }
        #expect(try await authenticator.authenticate(good, from: other)?.name == "alice")
        #expect(authenticator.known(good)?.name == "alice")
        #expect(try await authenticator.authenticate(good, from: flood)?.name == "alice")
        clock.advance(.seconds(1))
        #expect(try await authenticator.authenticate(basic("alice", "guess"), from: flood) == nil)
        await #expect(throws: AuthenticationError.tooManyFailures(retryAfter: 1)) {
            try await authenticator.authenticate(basic("alice", "guess"), from: flood)
        }
    }

    @Test("Right passwords cost their address nothing, and those that were known go on whatever else it sends")
    func right() async throws {
        let clock = Clock()
        let authenticator = try Self.authenticator(clock)
        let address = try numbered(1)
        let good = basic("alice", "wonderland")
        for _ in 0..<30 {
            #expect(try await authenticator.authenticate(good, from: address)?.name == "alice")
            clock.advance(.seconds(601))
            #expect(authenticator.known(good) == nil)
        }
        for _ in 0..<10 { _ = try await authenticator.authenticate(basic("alice", "x"), from: address) }
        await #expect(throws: AuthenticationError.self) {
            try await authenticator.authenticate(basic("alice", "x"), from: address)
        }
        #expect(try await authenticator.authenticate(good, from: address)?.name == "alice")
    }

    @Test("What is no Basic authentication is not counted")
    func noCredentials() async throws {
        let authenticator = try Self.authenticator(Clock())
        for _ in 0..<30 { #expect(try await authenticator.authenticate("Bearer x", from: .unknown) == nil) }
        #expect(try await authenticator.authenticate(basic("alice", "wonderland"), from: .unknown) != nil)
    }

    @Test("A flood from one address leaves room for the first password of another")
    func starving() async throws {
        var users = Htpasswd()
        try users.set("alice", try BcryptHash(password: "wonderland", cost: 9))
        var limits = Authenticator.Limits()
        limits.failures = 1_000_000
        limits.waiting = 16
        let authenticator = Authenticator(users: users, policy: Policy(), limits: limits)
        let (flood, other) = (try numbered(1), try numbered(2))
        let (stop, refused) = (Count(), Count())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<30 {
                group.addTask {
                    var round = 0
                    while stop.value == 0 {
                        round += 1
                        do {
                            let header = basic("alice", "guess \(worker) \(round)")
                            #expect(try await authenticator.authenticate(header, from: flood) == nil)
                        } catch {
                            refused.add(1)
                            await Task.yield()
                        }
                    }
                }
            }
            #expect(try await eventually { refused.value > 100 })
            // The share of the queue is full of wrong ones, and here nobody is turned away.
            #expect(try await authenticator.authenticate(basic("alice", "wonderland"), from: other)?.name == "alice")
            stop.add(1)
            try await group.waitForAll()
        }
    }
}
