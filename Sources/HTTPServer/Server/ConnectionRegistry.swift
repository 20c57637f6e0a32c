import Identity
import Logging
import NIOCore
import Synchronization

/// The open connections: lets new ones in, closes others where there is no room for all, and tells all of them to
/// finish.
///
/// No connection waits to be let in. Where there is no room, another one is closed: an idle one of a stranger, if
/// possible one that is older than `prompt`; or else a busy one of a stranger; or else an idle one of a user. Among
/// these it is the oldest one of the address that has most of them, so a flood takes its room from itself.
final class ConnectionRegistry: Sendable {
    /// Connections that are closed or turned away are logged once in this time at most.
    private static let logged = TimeAmount.seconds(60)

    /// The time in which a client that wants something has asked for it, as a rule.
    private static let prompt = TimeAmount.seconds(2)

    /// How many connections may be closing at a time to make room.
    private static let leaving = 64

    private struct Entry {
        let connection: Connection
        let number: Int
        let since: NIODeadline
        /// Whether the connection is being closed to make room.
        var isLeaving = false
    }

    private struct State {
        var isDraining = false
        var entries: [ObjectIdentifier: Entry] = [:]
        var leaving = 0
        var ofAddress: [ClientAddress: Int] = [:]
        var number = 0
        var nextLog = NIODeadline.uptimeNanoseconds(0)

        /// Chooses a connection to be closed, and counts it as leaving.
        /// - Parameters:
        ///   - evenOfUsers: whether an idle connection of a user may be chosen, if there is none of a stranger.
        ///   - evenSpare: whether a connection may be chosen that has a place which is kept for operators.
        ///   - id: the id of a connection that stays.
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

        /// Chooses connections of strangers to be closed that hold this much memory together; none if it takes too
        /// many.
        mutating func victims(_ bytes: Int, maximum: Int, but id: ObjectIdentifier) -> [Connection] {
            var (victims, freed) = ([Connection](), 0)
            while freed < bytes, victims.count < maximum,
                let victim = victim(evenOfUsers: false, evenSpare: true, but: id, now: .now())
            {
                victims.append(victim)
                freed += victim.memory.bytes
            }
            if freed >= bytes { return victims }
            for victim in victims { entries[ObjectIdentifier(victim.channel)]?.isLeaving = false }
            leaving -= victims.count
            return []
        }
    }

    private let maximum: Int
    private let spare: Int
    private let maximumOfAddress: Int
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameters:
    ///   - maximum: how many connections may be open.
    ///   - spare: how many more may be open, for operators and health; requests of others are refused on them.
    ///   - maximumOfAddress: how many of one address may be open; more are closed as they come.
    init(maximum: Int, spare: Int = 0, maximumOfAddress: Int, logger: Logger) {
        self.maximum = maximum
        self.spare = spare
        self.maximumOfAddress = maximumOfAddress
        self.logger = logger
    }

    var count: Int { state.withLock { $0.entries.count } }
    var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Lets a new connection in.
    /// - Parameter bytes: the memory that it takes by being open.
    /// - Throws: `ConnectionError.noRoom`; the connection is then to be closed.
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

    /// How many connections of strangers are closed at most to make room for one other.
    private static let maximumVictims = 16

    /// Takes memory for a connection that was let in. If there is none, connections of strangers are closed for it.
    /// - Parameter connection: a connection, or one of its streams.
    /// - Returns: false if there is no memory, and closing strangers' connections does not give enough.
    func take(_ bytes: Int, for connection: Connection) -> Bool {
        if connection.memory.take(bytes) { return true }
        guard connection.memory.share == .strangers else { return false }
        let id = ObjectIdentifier(connection.underlying)
        let victims = state.withLock { $0.victims(bytes, maximum: Self.maximumVictims, but: id) }
        guard !victims.isEmpty else { return false }
        for victim in victims { victim.cut() }
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

    /// Closes a connection, since the system has no descriptor or no memory for another one.
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
