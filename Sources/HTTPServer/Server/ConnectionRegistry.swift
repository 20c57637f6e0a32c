import NIOCore
import Synchronization

/// The connections that are open, so that all of them can be told to finish.
final class ConnectionRegistry: Sendable {
    private struct State {
        var isDraining = false
        var channels: [ObjectIdentifier: any Channel] = [:]
    }

    private let state = Mutex(State())

    var count: Int { state.withLock { $0.channels.count } }
    var isDraining: Bool { state.withLock { $0.isDraining } }

    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        let isDraining = state.withLock { state in
            state.channels[id] = channel
            return state.isDraining
        }
        channel.closeFuture.whenComplete { _ in
            _ = self.state.withLock { $0.channels.removeValue(forKey: id) }
        }
        if isDraining { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    }

    /// Lets each connection finish the response that is under way, and no more.
    func drain() {
        let channels = state.withLock { state in
            state.isDraining = true
            return Array(state.channels.values)
        }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    }

    func closeAll() {
        let channels = state.withLock { Array($0.channels.values) }
        for channel in channels { channel.close(promise: nil) }
    }
}
