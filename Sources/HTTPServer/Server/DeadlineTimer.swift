import NIOCore

/// A handler's one timer, for the nearest of its deadlines. To be used on the handler's event loop only.
struct DeadlineTimer {
    private var scheduled: Scheduled<Void>?
    private var deadline = NIODeadline.distantFuture

    /// Makes sure that it fires no later than a time.
    /// - Parameter fire: begins with `fired()`.
    mutating func start(_ context: ChannelHandlerContext, by deadline: NIODeadline, _ fire: @escaping () -> Void) {
        if let scheduled {
            guard deadline < self.deadline else { return }
            scheduled.cancel()
        }
        self.deadline = deadline
        scheduled = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline, fire)
    }

    /// It runs no more.
    mutating func fired() { scheduled = nil }

    mutating func cancel() {
        scheduled?.cancel()
        scheduled = nil
    }
}
