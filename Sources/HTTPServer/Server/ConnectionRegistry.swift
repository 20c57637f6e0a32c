import Identity
import Logging
import NIOCore
import Synchronization

/// The connections that are open: lets new ones in, closes others where there is no room for all, and tells them to
/// finish.
///
/// Nobody waits to be let in. Where there is no room a stranger's connection is closed: one that has asked for nothing
/// for a while, or else one of the address that has most; then, of users, one that is idle. So a flood takes its room
/// from itself.
final class ConnectionRegistry: Sendable {
    /// What is logged of connections that are closed or turned away is logged once in this time.
    private static let logged = TimeAmount.seconds(60)

    /// By when a client that wants something has asked for it, as a rule.
    private static let prompt = TimeAmount.seconds(2)

    /// Connections that are being closed to make room, at a time.
    private static let leaving = 64

    private struct Entry {
        let connection: Connection
        let number: Int
        let since: NIODeadline
        /// It is being closed to make room.
        var isLeaving = false
    }

    private struct State {
        var isDraining = false
        var entries: [ObjectIdentifier: Entry] = [:]
        var leaving = 0
        var ofAddress: [ClientAddress: Int] = [:]
        var number = 0
        var nextLog = NIODeadline.uptimeNanoseconds(0)

        /// Chooses a connection that has to go.
        /// - Parameters:
        ///   - evenOfUsers: not only of strangers.
        ///   - evenSpare: one may go that has a place which is kept for operators.
        ///   - id: of one that stays.
        mutating func victim(
            evenOfUsers: Bool, evenSpare: Bool, but id: ObjectIdentifier? = nil, now: NIODeadline
        ) -> Connection? {
            let all = entries.filter { key, entry in
                !entry.isLeaving && key != id && (evenSpare || !entry.connection.isSpare)
            }
            let strangers = all.filter { $0.value.connection.memory.share == .strangers }
            let quiet = strangers.filter { !$0.value.connection.isBusy }
            let late = quiet.filter { $0.value.since + ConnectionRegistry.prompt < now }
            var candidates = [late, quiet, strangers].first { !$0.isEmpty } ?? [:]
            if candidates.isEmpty, evenOfUsers {
                candidates = all.filter { $0.value.connection.memory.share == .users && !$0.value.connection.isBusy }
            }
            var counts: [ClientAddress: Int] = [:]
            for entry in candidates.values { counts[entry.connection.address, default: 0] += 1 }
            let worst = counts.max { $0.value < $1.value }?.key
            let chosen = candidates.filter { $0.value.connection.address == worst }
                .min { $0.value.number < $1.value.number }
            guard let chosen else { return nil }
            entries[chosen.key]?.isLeaving = true
            leaving += 1
            return chosen.value.connection
        }
    }

    private let maximum: Int
    private let spare: Int
    private let maximumOfAddress: Int
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameters:
    ///   - maximum: of connections.
    ///   - spare: how many more may be there, for operators and health; requests of others are refused on them.
    ///   - maximumOfAddress: of one address; more are closed as they come.
    init(maximum: Int, spare: Int = 0, maximumOfAddress: Int, logger: Logger) {
        self.maximum = maximum
        self.spare = spare
        self.maximumOfAddress = maximumOfAddress
        self.logger = logger
    }

    var count: Int { state.withLock { $0.entries.count } }
    var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Takes a new connection in.
    /// - Parameter bytes: what it takes in memory by being there.
    /// - Throws: `ConnectionError.noRoom`; it is then to be closed.
    func add(_ connection: Connection, bytes: Int, now: NIODeadline = .now()) throws(ConnectionError) {
        let channel = connection.channel
        let id = ObjectIdentifier(channel)
        let hasMemory = connection.memory.take(bytes)
        let (isIn, victim, isDraining) = state.withLock { state -> (Bool, Connection?, Bool) in
            guard state.ofAddress[connection.address, default: 0] < maximumOfAddress, state.leaving < Self.leaving
            else { return (false, nil, false) }
            let open = state.entries.count - state.leaving
            var victim: Connection?
            if open >= maximum || !hasMemory {
                victim = state.victim(
                    evenOfUsers: hasMemory, evenSpare: !hasMemory || open >= maximum + spare, now: now)
            }
            if victim == nil {
                guard hasMemory, open < maximum + spare else { return (false, nil, false) }
                if open >= maximum { connection.markSpare() }
            }
            state.number += 1
            state.entries[id] = Entry(connection: connection, number: state.number, since: now)
            state.ofAddress[connection.address, default: 0] += 1
            return (true, victim, state.isDraining)
        }
        victim?.cut()
        if victim != nil || !isIn { warn(isIn, connection) }
        guard isIn else { throw .noRoom }
        if !hasMemory { connection.memory.takeAnyway(bytes) }
        channel.closeFuture.whenComplete { _ in self.remove(id, connection) }
        if isDraining { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    }

    /// Connections of strangers that make room for one other, at most.
    private static let maximumVictims = 16

    /// Takes memory for what any connection needs that is let in.
    /// - Parameter connection: or a stream.
    /// - Returns: false if there is none, and there are no strangers' connections that could make room.
    func take(_ bytes: Int, for connection: Connection) -> Bool {
        if connection.memory.take(bytes) { return true }
        guard connection.memory.share == .strangers else { return false }
        let id = ObjectIdentifier(connection.underlying)
        var freed = 0
        for _ in 0..<Self.maximumVictims where freed < bytes {
            guard let victim = state.withLock({ $0.victim(evenOfUsers: false, evenSpare: true, but: id, now: .now()) })
            else { break }
            freed += victim.memory.bytes
            victim.cut()
        }
        guard freed >= bytes else { return false }
        connection.memory.takeAnyway(bytes)
        return true
    }

    private func remove(_ id: ObjectIdentifier, _ connection: Connection) {
        connection.memory.release()
        state.withLock { state in
            guard let entry = state.entries.removeValue(forKey: id) else { return }
            if entry.isLeaving { state.leaving -= 1 }
            let count = state.ofAddress[connection.address, default: 0] - 1
            state.ofAddress[connection.address] = count > 0 ? count : nil
        }
    }

    /// The system has no descriptor for another connection.
    func makeRoom() {
        state.withLock { $0.victim(evenOfUsers: true, evenSpare: true, now: .now()) }?.cut()
    }

    private func warn(_ isIn: Bool, _ connection: Connection) {
        let isDue = state.withLock { state in
            let now = NIODeadline.now()
            guard now >= state.nextLog else { return false }
            state.nextLog = now + Self.logged
            return true
        }
        guard isDue else { return }
        logger.warning(
            isIn
                ? "old connections are closed to make room" : "a connection finds no room, or its address has too many",
            metadata: ["peer": "\(connection.peer)", "open": "\(count)"])
    }

    /// Lets each connection finish the response that is under way, and no more.
    func drain() {
        let entries = state.withLock { state in
            state.isDraining = true
            return Array(state.entries.values)
        }
        for entry in entries {
            entry.connection.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
    }

    func closeAll() {
        for entry in state.withLock({ Array($0.entries.values) }) { entry.connection.channel.close(promise: nil) }
    }
}
